"""Time alternatives side by side, and describe the machine. Written by hand, since torch.utils.benchmark times one
alternative after the other, and the load of a shared machine changes in between."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping

import torch

from ldm.versions import version_of

PACKAGES = ("torch", "diffusers", "transformers", "pytorch-lightning")


def hardware() -> dict[str, str | int]:
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "system": platform.system(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        **{name: version_of(name) for name in PACKAGES},
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(": ", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def compare_times(calls: Mapping[str, Callable[[], Iterable[float]]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each alternative. Each call returns a list of times. The calls alternate (A B A B),
    so that other load on the machine slows all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].extend(call())
    return {name: statistics.median(measured) for name, measured in times.items()}


def repeat(step: Callable[[], object], count: int, warm_up: int = 1) -> list[float]:
    """Return the seconds of each of `count` calls, after `warm_up` calls that are not timed."""
    times = []
    for _ in range(count + warm_up):
        wait_for_device()
        start = time.perf_counter()
        step()
        wait_for_device()
        times.append(time.perf_counter() - start)
    return times[warm_up:]


def matrix_rate(dtype: torch.dtype = torch.float32, side: int = 2048) -> float:
    """Return the FLOP/s of a product of two square matrices, the peak rate of the machine."""
    a = torch.randn(side, side, device=device()).to(dtype)
    return 2 * side**3 / min(repeat(lambda: a @ a, 10))
