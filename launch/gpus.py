"""Assigns the GPUs of one machine to jobs that run at the same time: one GPU per process."""

import os
import tempfile
from glob import glob
from pathlib import Path

import filelock

from ldm.errors import UserError

_taken: list[filelock.BaseFileLock] = []  # held until the process ends


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, as in CUDA_VISIBLE_DEVICES. Does not initialise CUDA."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    return [str(i) for i in range(len(glob("/dev/nvidia[0-9]*")))]


def take_one() -> None:
    """Reserve one GPU and make it the only one visible to this process. No two processes reserve the same GPU. Raises
    UserError if all are taken; does nothing on a machine without GPUs."""
    names = visible_gpus()
    if not names or _taken:
        return
    folder = Path(tempfile.gettempdir()) / "textual_inversion_gpus"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        lock = filelock.FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0.0)
        except filelock.Timeout:
            continue
        _taken.append(lock)
        os.environ["CUDA_VISIBLE_DEVICES"] = name
        return
    raise UserError(
        f"all of the GPUs {', '.join(names)} are taken by other jobs: run fewer jobs at once (hydra.launcher.n_jobs)."
    )
