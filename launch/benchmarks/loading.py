"""Peak memory while loading a checkpoint."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch import nn

from ldm.weights.checkpoint import load_weights

from .process import in_new_process, peak_memory


def _model(layers: int) -> nn.Module:
    return nn.Sequential(*(nn.Linear(4096, 4096) for _ in range(layers)))


def _load(path: Path, layers: int) -> dict[str, float]:
    imported, size = peak_memory(), path.stat().st_size
    load_weights(_model(layers), path)
    return {"file": size, "imports": imported, "peak": peak_memory(), "ratio": peak_memory() / size}


def loading(folder: Path, gigabytes: float) -> dict[str, dict[str, float]]:
    """For each file format, measure the peak memory in bytes of a process that builds a float32 model and loads a
    checkpoint of that size into it. "ratio" is the peak divided by the file size; "imports" is the part of the peak
    that Python and torch need."""
    layers = max(1, round(gigabytes * 1e9 / (4 * 4096 * 4097)))
    weights = _model(layers).state_dict()
    results = {}
    for name in ("model.safetensors", "model.ckpt"):
        with TemporaryDirectory(dir=folder) as own:  # never overwrites the user's files
            path = Path(own) / name
            if path.suffix == ".ckpt":
                torch.save({"state_dict": weights}, path)
            else:
                save_file(weights, path)
            results[name] = in_new_process(_load, path, layers)
    return results
