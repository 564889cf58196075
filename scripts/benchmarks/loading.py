"""The memory that loading a checkpoint takes."""

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

# Runs in a process of its own, whose peak memory is then that of loading alone. Linux says it in /proc; getrusage would
# count the process that started this one.
_LOAD = r"""
import re, sys
from pathlib import Path
from torch import nn
from ldm.checkpoint import pretrained
def peak():
    return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()).group(1))
imported = peak()
model = nn.Sequential(*(nn.Linear(4096, 4096) for _ in range(int(sys.argv[2]))))
pretrained(model, sys.argv[1])
print(imported, peak())
"""


def loading(folder: Path, gigabytes: float) -> dict[str, dict[str, float]]:
    """Peak memory in bytes of a process that builds a float32 model and loads a checkpoint of that size into it, and
    that peak as a multiple of the file, for each format. The imports alone take about 0.23 GB of it."""
    layers = max(1, round(gigabytes * 1e9 / (4 * 4096 * 4097)))
    weights = nn.Sequential(*(nn.Linear(4096, 4096) for _ in range(layers))).state_dict()
    results = {}
    for name in ("model.safetensors", "model.ckpt"):
        path = folder / name
        if path.suffix == ".ckpt":
            torch.save({"state_dict": weights}, path)
        else:
            save_file(weights, path)
        call = [sys.executable, "-c", _LOAD, str(path), str(layers)]
        said = subprocess.run(call, check=True, capture_output=True, text=True).stdout
        imported, peak = (int(number) for number in said.split())
        size = path.stat().st_size
        results[name] = {"file": size, "imports": imported, "peak": peak, "ratio": peak / size}
        path.unlink()
    return results
