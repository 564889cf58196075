"""GPUs of one machine for jobs that run at the same time: each process takes one of its own."""

import os
import tempfile
from glob import glob
from pathlib import Path

import filelock

_taken: list[filelock.BaseFileLock] = []  # for as long as the process lives


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them. Does not wake CUDA."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    return [str(i) for i in range(len(glob("/dev/nvidia[0-9]*")))]


def take_one() -> None:
    """Leaves only one GPU visible to this process, which no other process that calls this has. Raises ValueError if
    all are taken; without GPUs it does nothing."""
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
    raise ValueError(
        f"all of the GPUs {', '.join(names)} are taken by other jobs: start fewer at once (hydra.launcher.n_jobs)."
    )
