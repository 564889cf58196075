"""Memory, open files and the time of a step in a long training. None of them may grow."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from ldm.training.callbacks import read_rows

from ..shell import SCRIPTS


def watched(process: subprocess.Popen[bytes], metrics: Path, steps: int, seconds: float) -> Iterator[tuple[float, ...]]:
    """Yield (step, seconds by the clock, seconds of processor time, bytes of memory, open files) of a training every
    `seconds`, from its first step to its last."""
    training, step = psutil.Process(process.pid), 0
    while step < steps and process.poll() is None:
        time.sleep(seconds)
        step = max((int(row["step"]) for row in read_rows(metrics)[-1:]), default=0)
        if step and process.poll() is None:
            times = training.cpu_times()
            yield step, time.perf_counter(), times.user + times.system, training.memory_info().rss, training.num_fds()


def steady(folder: Path, arguments: list[str], steps: int, parts: int, seconds: float) -> dict[str, dict[str, float]]:
    """Train for `steps` steps with these arguments of train.py, which must write a row of metrics.csv at each step.
    Return for each of `parts` equal parts the most memory in bytes, the fewest open files (a moment of writing adds
    one), and the milliseconds of a step by the clock and of processor time. Works on Unix only."""
    run, log = folder / "run", folder / "train.txt"
    command = [sys.executable, str(SCRIPTS / "train.py"), *arguments, f"trainer.max_steps={steps}"]
    with (
        log.open("wb") as output,
        subprocess.Popen([*command, f"hydra.run.dir={run}"], stdout=output, stderr=output) as process,
    ):
        samples = np.array(list(watched(process, run / "metrics.csv", steps, seconds)))
    if process.returncode != 0:
        raise RuntimeError(f"the training failed: {log}")
    step, clock, processor, memory, files = samples.T
    found: dict[str, dict[str, float]] = {}
    for first, last in itertools.pairwise(np.linspace(0, steps, parts + 1)):
        inside = (first < step) & (step <= last)
        ends = [max(first, step[0]), last]
        passed = np.diff([np.interp(ends, step, clock), np.interp(ends, step, processor)]) / np.diff(ends)
        found[f"to step {last:.0f}"] = {
            "memory": float(memory[inside].max()),
            "open files": float(files[inside].min()),
            "ms of a step": 1000.0 * float(passed[0, 0]),
            "processor ms of a step": 1000.0 * float(passed[1, 0]),
        }
    return found
