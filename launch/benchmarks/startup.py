"""Seconds that a user waits: for --help, for the first step, for the contact sheet."""

import subprocess
import sys
from pathlib import Path

from .timing import compare_times, repeat

QUIET = ["callbacks.previews=null", "callbacks.sheet=null", "callbacks.messages=null"]


def startup(folder: Path, command: list[str], arguments: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Of `command arguments`: as it is, until its first step is done, and of `command --help`."""
    runs = iter(range(1_000_000))

    def wait(*more: str) -> list[float]:
        def run() -> None:
            call = [sys.executable, *command, *more]
            subprocess.run(call, check=True, capture_output=True)

        return repeat(run, 1, warm_up=0)

    def job(*more: str) -> list[float]:
        return wait(*arguments, *more, f"hydra.run.dir={folder / str(next(runs))}")

    calls = {
        "help": lambda: wait("--help"),
        "first step": lambda: job("trainer.max_steps=1", *QUIET),
        "contact sheet": lambda: job(),
    }
    return {name: {"seconds": value} for name, value in compare_times(calls, rounds).items()}
