"""Run folders that no two runs share, also where they start in the same second or are started as several processes."""

import os
from datetime import datetime
from pathlib import Path

import psutil

_made: dict[str, str] = {}  # Hydra asks more than once
_BATCH_STEP = 1 << 31  # ids from there on are SLURM's own steps, not srun's


def fresh(path: str) -> str:
    """`path`, where it was free; else with -2, -3, ... behind it. The folder is made.

    Processes that srun or torchrun has started together get one folder, named for what they share; that of an srun
    step is the same when SLURM queues its job again."""
    if path not in _made:
        together = _name_of_all()
        folder = Path(path).with_name(together) if together else _first_free(Path(path))
        folder.mkdir(parents=True, exist_ok=True)
        _made[path] = str(folder)
    return _made[path]


def _first_free(path: Path) -> Path:
    number = 1
    while True:
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            candidate.mkdir(parents=True)
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
