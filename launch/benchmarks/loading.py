"""Peak memory while loading a checkpoint."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch import nn

from ldm.weights.checkpoint import load_as_stored, load_weights

from .process import in_new_process, peak_memory

SIDE = 2048  # of the weights of a layer


def _model(layers: int) -> nn.Module:
    return nn.Sequential(*(nn.Linear(SIDE, SIDE) for _ in range(layers)))


def _load(path: Path, layers: int, frozen: bool) -> dict[str, float]:
    imported, size = peak_memory(), path.stat().st_size
    if frozen:
        load_as_stored(partial(_model, layers), path).to(torch.bfloat16)
    else:
        load_weights(_model(layers), path)
    peak = peak_memory()
    return {"file": size, "imports": imported, "peak": peak, "beyond": peak - imported - size, "ratio": peak / size}


def loading(folder: Path, gigabytes: float) -> dict[str, dict[str, float]]:
    """For each file format, measure the peak memory in bytes of a process that builds a float32 model and loads a
    float32 checkpoint of that size into it, and of one that loads a checkpoint in half precision into a model that it
    freezes in bfloat16. "imports" is the part of the peak that Python and torch need, "beyond" what is neither that nor
    as much as the file, and "ratio" the peak divided by the file size."""
    results = {}
    for dtype, frozen in ((torch.float32, False), (torch.float16, True)):
        layers = max(1, round(gigabytes * 1e9 / (dtype.itemsize * SIDE * (SIDE + 1))))
        weights = _model(layers).to(dtype).state_dict()
        for name in ("model.safetensors", "model.ckpt"):
            with TemporaryDirectory(dir=folder) as own:  # never overwrites the user's files
                path = Path(own) / name
                if path.suffix == ".ckpt":
                    torch.save({"state_dict": weights}, path)
                else:
                    save_file(weights, path)
                row = f"{name}, half precision" if frozen else name
                results[row] = in_new_process(_load, path, layers, frozen)
    return results
