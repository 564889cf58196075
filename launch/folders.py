"""Unique run folders, even for runs that start in the same second, and one common folder for the processes of one run.
A process removes only what it has created itself."""

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

from ldm.errors import UserError

_fresh: dict[str, str] = {}  # Hydra resolves the run folder more than once
_made: set[Path] = set()  # the folders that this process has created
_found: set[Path] = set()  # the files that were in the run folder before
_BATCH_STEP = 1 << 31  # step ids from here on are SLURM's own, not those of srun


def fresh(path: str) -> str:
    """Create and return the folder `path`, with a suffix -2, -3, ... if it exists.

    Processes that srun or torchrun has started together get one folder, named after the id that they share. For a step
    of srun it is the same when SLURM requeues the job."""
    if path not in _fresh:
        together = _name_of_all()
        folder = Path(path).with_name(together) if together else _first_free(Path(path))
        with suppress(FileExistsError):
            make(folder)
        _fresh[path] = str(folder)
    return _fresh[path]


def make(folder: Path) -> None:
    """Create the folder and its missing parents, and remember which of them this process has created. Raises
    FileExistsError if the folder exists."""
    folder = Path(os.path.abspath(folder))
    for above in reversed(folder.parents):
        if not above.exists():
            with suppress(FileExistsError):  # another process was faster
                above.mkdir()
                _made.add(above)
    folder.mkdir()
    _made.add(folder)


class OwnFolders(Callback):
    """Creates the run folder before Hydra does, so that `remove_own` knows what was there before this process."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with suppress(OmegaConfBaseException, OSError):  # Hydra runs into the same error next and reports it
            folder = Path(os.path.abspath(config.hydra.run.dir))
            _found.update(folder.iterdir() if folder.is_dir() else ())
            make(folder)


def remove_own(run: Path) -> None:
    """Remove the log file that this process has created in the run folder, then the folders that it has created, unless
    they hold anything else."""
    root = logging.getLogger()
    logs = {Path(handler.baseFilename) for handler in root.handlers if isinstance(handler, logging.FileHandler)}
    new = {path for path in run.iterdir() if path not in _found} if run.is_dir() else set()
    if not new <= logs:
        return
    logging.shutdown()
    with suppress(OSError):  # another run's files, or a place that cannot be written any more
        for log in new:
            log.unlink(missing_ok=True)
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
            raise UserError("torchrun on several machines: set one folder for all of them with hydra.run.dir=...")
        started = psutil.Process(os.getppid()).create_time()
        return f"torchrun-{datetime.fromtimestamp(started):%Y-%m-%d_%H-%M-%S}-{os.getppid()}"
    step = int(environment.get("SLURM_STEP_ID", _BATCH_STEP))
    return f"slurm-{environment['SLURM_JOB_ID']}.{step}" if step < _BATCH_STEP else None
