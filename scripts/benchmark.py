"""Measure, and write down what was measured on what: one config of configs/case per measurement.

python scripts/benchmark.py case=loading
"""

import json
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import hydra
import torch
from command import command
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from safetensors.torch import save_file
from torch import nn

log = logging.getLogger("benchmark")

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


def hardware() -> dict[str, str | int]:
    return {
        "machine": platform.machine(),
        "system": platform.platform(),
        "cores": os.cpu_count() or 0,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


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


CASES = {"loading": loading}


@hydra.main(version_base="1.3", config_path="../configs", config_name="benchmark")
@command
def main(config: DictConfig) -> None:
    folder, case = Path(HydraConfig.get().runtime.output_dir), HydraConfig.get().runtime.choices["case"]
    results = CASES[case](folder, **config.case)
    record = {"case": case, "settings": dict(config.case), "hardware": hardware(), "results": results}
    (folder / "results.json").write_text(json.dumps(record, indent=2))
    for name, values in results.items():
        log.info("%s: %s", name, ", ".join(f"{key} {value:,.3g}" for key, value in values.items()))
    log.info("%s", os.path.relpath(folder / "results.json"))


if __name__ == "__main__":
    main()
