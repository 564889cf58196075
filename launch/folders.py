"""Run folders that no two runs share, also where they start in the same second or are started as several processes;
and what of them a process may remove again: only what it has made itself."""

import logging
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

_fresh: dict[str, str] = {}  # Hydra asks more than once
_made: set[Path] = set()  # the folders that this process has made
_found: set[Path] = set()  # the files that were in its run folder before
_BATCH_STEP = 1 << 31  # ids from there on are SLURM's own steps, not srun's


def fresh(path: str) -> str:
    """`path`, where it was free; else with -2, -3, ... behind it. The folder is made.

    Processes that srun or torchrun has started together get one folder, named for what they share; that of an srun
    step is the same when SLURM queues its job again."""
    if path not in _fresh:
        together = _name_of_all()
        folder = Path(path).with_name(together) if together else _first_free(Path(path))
        with suppress(FileExistsError):
            make(folder)
        _fresh[path] = str(folder)
    return _fresh[path]


def make(folder: Path) -> None:
    """Makes the folder and those above it that are missing, and remembers which of them this process has made. Raises
    FileExistsError if it is there already."""
    folder = Path(os.path.abspath(folder))
    for above in reversed(folder.parents):
        if not above.exists():
            with suppress(FileExistsError):  # another process was faster
                above.mkdir()
                _made.add(above)
    folder.mkdir()
    _made.add(folder)


class OwnFolders(Callback):
    """Makes the run folder before Hydra would, so that `remove_own` knows what was there before this process."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with suppress(OmegaConfBaseException, OSError):  # Hydra meets the same error next, and says so
            folder = Path(os.path.abspath(config.hydra.run.dir))
            _found.update(folder.iterdir() if folder.is_dir() else ())
            make(folder)


def remove_own(run: Path) -> None:
    """Takes away the log that this process has begun in the run folder, then the folder and those above it that it has
    made, unless anything else is in them."""
    root = logging.getLogger()
    logs = {Path(handler.baseFilename) for handler in root.handlers if isinstance(handler, logging.FileHandler)}
    new = {path for path in run.iterdir() if path not in _found} if run.is_dir() else set()
    if not new <= logs:
        return
    logging.shutdown()
    for log in new:
        log.unlink(missing_ok=True)
    with suppress(OSError):  # another run's files
        for folder in (run, *run.parents):
            if folder not in _made:
                return
            folder.rmdir()


def _first_free(path: Path) -> Path:
    number = 1
    while True:
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            make(candidate)
            return candidate
        except FileExistsError:
            number += 1


def _name_of_all() -> str | None:
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        if environment.get("GROUP_WORLD_SIZE", "1") != "1":
            raise ValueError("torchrun on several machines: give all of them one folder with hydra.run.dir=...")
        started = psutil.Process(os.getppid()).create_time()
        return f"torchrun-{datetime.fromtimestamp(started):%Y-%m-%d_%H-%M-%S}-{os.getppid()}"
    step = int(environment.get("SLURM_STEP_ID", _BATCH_STEP))
    return f"slurm-{environment['SLURM_JOB_ID']}.{step}" if step < _BATCH_STEP else None
