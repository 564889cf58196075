"""Peak memory of an inversion: ours and that of diffusers' example, each in a process of its own."""

from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ldm.images import to_tensor

from . import theirs
from .inversion import pack_of, train
from .process import in_new_process, peak_memory

STEPS = 2


def _peak() -> dict[str, float]:
    on_gpu = {"peak_on_gpu": torch.cuda.max_memory_allocated()} if torch.cuda.is_available() else {}
    return {"peak": peak_memory(), **on_gpu}


def _ours(case: DictConfig, size: int) -> dict[str, float]:
    imported = peak_memory()
    ldm, concept = instantiate(case.ldm, _convert_="all"), instantiate(case.concept, _convert_="all")
    train(pack_of(ldm, concept, size, case.image_size, case.batch_size), STEPS)
    return {"imports": imported, **_peak()}


def _diffusers(case: DictConfig) -> dict[str, float]:
    imported = peak_memory()
    ldm, concept = instantiate(case.ldm, _convert_="all"), instantiate(case.concept, _convert_="all")
    alone = pack_of(ldm, concept, 1, case.image_size, case.batch_size)
    alone.on_fit_start()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = to_tensor(alone.pictures[0].images)[: case.batch_size].to(device)
    step = theirs.inversion_step(ldm, images, alone.draw(0)["ids"].to(device), concept.learning_rate)
    for _ in range(STEPS):
        step()
    return {"imports": imported, **_peak()}


def memory(folder: Path, packs: list[int], **case: Any) -> dict[str, dict[str, float]]:
    """Bytes of main memory: what the imports take, and the peak; on a GPU also the peak of tensors there."""
    described = OmegaConf.create(case)
    return {
        "diffusers": in_new_process(_diffusers, described),
        **{f"pack of {size}": in_new_process(_ours, described, size) for size in packs},
    }
