"""The memory that loading a checkpoint takes."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch import nn

from ldm.weights.checkpoint import pretrained

from .process import in_new_process, peak_memory


def _model(layers: int) -> nn.Module:
    return nn.Sequential(*(nn.Linear(4096, 4096) for _ in range(layers)))


def _load(path: Path, layers: int) -> dict[str, float]:
    imported, size = peak_memory(), path.stat().st_size
    pretrained(_model(layers), path)
    return {"file": size, "imports": imported, "peak": peak_memory(), "ratio": peak_memory() / size}


def loading(folder: Path, gigabytes: float) -> dict[str, dict[str, float]]:
    """Peak memory in bytes of a process that builds a float32 model and loads a checkpoint of that size into it, and
    that peak as a multiple of the file, for each format; `imports` is what Python and torch take of it."""
    layers = max(1, round(gigabytes * 1e9 / (4 * 4096 * 4097)))
    weights = _model(layers).state_dict()
    results = {}
    for name in ("model.safetensors", "model.ckpt"):
        with TemporaryDirectory(dir=folder) as own:  # beside the user's files, never in their place
            path = Path(own) / name
            if path.suffix == ".ckpt":
                torch.save({"state_dict": weights}, path)
            else:
                save_file(weights, path)
            results[name] = in_new_process(_load, path, layers)
    return results
