"""Assigns the GPUs of one machine to jobs that run at the same time: one GPU per process."""

import multiprocessing
import os
import tempfile
import time
from glob import glob
from itertools import takewhile
from pathlib import Path

import filelock

from ldm.errors import UserError

from .jobs import end_with_parent

WAIT = 5.0  # seconds in which a process that had a GPU may end
_taken: list[filelock.BaseFileLock] = []  # held until the process ends


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, as in CUDA_VISIBLE_DEVICES. Does not initialise CUDA."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        names = map(str.strip, named.split(","))
        return list(takewhile(lambda name: name not in ("", "-1"), names))  # CUDA reads no further
    return [str(i) for i in range(len(glob("/dev/nvidia[0-9]*")))]


def take_one() -> None:
    """Reserve one GPU and make it the only one visible to this process. No two processes reserve the same GPU. A worker
    of a launcher then ends with the launcher, so that no GPU stays reserved. Raises UserError if all are taken; does
    nothing on a machine without GPUs."""
    names = visible_gpus()
    if not names or _taken:
        return
    until = time.monotonic() + WAIT
    while (name := next(filter(_reserve, names), None)) is None:
        if time.monotonic() > until:
            raise UserError(
                f"all of the GPUs {', '.join(names)} are taken by other jobs: run fewer jobs at once "
                f"(hydra.launcher.n_jobs)."
            )
        time.sleep(0.1)
    os.environ["CUDA_VISIBLE_DEVICES"] = name
    if multiprocessing.parent_process() is not None:
        end_with_parent()


def _reserve(name: str) -> bool:
    folder = Path(tempfile.gettempdir()) / "textual_inversion_gpus"
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{name.replace('/', '_')}.lock")
    try:
        lock.acquire(timeout=0.0)
    except filelock.Timeout:
        return False
    _taken.append(lock)
    return True
