"""Peak memory of an inversion: ours and diffusers' example, each alone in its own process, in turn."""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from . import diffusers_example
from .process import in_new_process, peak_memory

STEPS = 2
INPUTS = "inputs.pt"


def _peak(loaded: int) -> dict[str, float]:
    on_gpu = {"peak_on_gpu": torch.cuda.max_memory_allocated()} if torch.cuda.is_available() else {}
    return {"loaded": loaded, "peak": peak_memory(), **on_gpu}


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _ours(case: DictConfig, size: int) -> dict[str, float]:
    from .inversion import pack_of, train

    ldm, concept = instantiate(case.ldm, _convert_="all"), instantiate(case.concept, _convert_="all")
    module = pack_of(ldm, concept, size, case.image_size, case.batch_size)
    loaded = peak_memory()
    train(module, STEPS)
    return _peak(loaded)


def _prepare(case: DictConfig, folder: Path) -> None:
    """Write what diffusers needs: its parts with our weights, and the images and token ids of a step."""
    from ldm.images import to_tensor

    from . import theirs
    from .inversion import pack_of

    ldm, concept = instantiate(case.ldm, _convert_="all"), instantiate(case.concept, _convert_="all")
    alone = pack_of(ldm, concept, 1, case.image_size, case.batch_size)
    alone.on_fit_start()
    inputs = {
        "images": to_tensor(alone.pictures[0].images)[: case.batch_size],
        "ids": alone.draw(0)["ids"],
        "learning_rate": concept.learning_rate,
        "scale": float(ldm.scale_factor),
    }
    torch.save(inputs, folder / INPUTS)
    theirs.save_parts(folder, ldm, case.image_size)


def _diffusers(folder: Path) -> dict[str, float]:
    model = diffusers_example.saved_parts(folder, _device())
    inputs = torch.load(folder / INPUTS, map_location=_device(), weights_only=True)
    loaded = peak_memory()
    step = diffusers_example.inversion_step(model, **inputs)
    for _ in range(STEPS + 3):  # as many as `train`
        step()
    return _peak(loaded)


def _over_rounds(rounds: list[dict[str, float]]) -> dict[str, float]:
    peaks = [measured["peak"] for measured in rounds]
    middle = {name: statistics.median(measured[name] for measured in rounds) for name in rounds[0]}
    return {**middle, "lowest_peak": min(peaks), "highest_peak": max(peaks)}


def memory(folder: Path, packs: list[int], rounds: int, **case: Any) -> dict[str, dict[str, float]]:
    """Measure the main memory in bytes with the model loaded and at the peak: the medians of `rounds` processes, and
    the lowest and the highest peak. On a GPU also the peak memory of its tensors."""
    described = OmegaConf.create(case)
    measured: dict[str, list[dict[str, float]]] = {}
    with TemporaryDirectory() as parts:
        in_new_process(_prepare, described, Path(parts))
        for _ in range(rounds):
            measured.setdefault("diffusers", []).append(in_new_process(_diffusers, Path(parts)))
            for size in packs:
                measured.setdefault(f"pack of {size}", []).append(in_new_process(_ours, described, size))
    return {name: _over_rounds(several) for name, several in measured.items()}
