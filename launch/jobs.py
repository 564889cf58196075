"""The jobs of a sweep and their states. Every job stores its state in its own folder; the folder of the sweep holds the
list of all jobs."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import filter_overrides
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from ldm.files import write_json

from .settings import require_settings

JOB, SWEEP = "job.json", "sweep.json"
sweeper: int | None = None  # the process that launches the jobs of a sweep
SLURM_KILLS_WITHIN = 120.0  # seconds


def rank() -> int:
    """Return the rank of this process among those that train one job together, as set by torchrun or srun."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0)))


class JobFailed(Exception):
    """A job of a sweep failed; its log holds the reason."""


@dataclass(frozen=True)
class Job:
    """A job of a sweep. `state` is waiting, running, finished, stopped (by a signal, after saving its state) or
    failed."""

    number: int
    overrides: list[str]
    state: str = "waiting"
    error: str = ""
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)


def job_in(folder: Path) -> Job | None:
    """Read the job in `folder` as it was last written; None if it has not started."""
    try:
        return Job(**json.loads((folder / JOB).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def in_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def own_overrides() -> list[str]:
    return overrides_of(HydraConfig.get())


def overrides_of(hydra: Any) -> list[str]:
    """Return the overrides of a job from its config of Hydra, as they were given: one may not be resolvable."""
    return filter_overrides(cast(list[str], OmegaConf.to_container(hydra.overrides.task)))


@contextmanager
def track_job(folder: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Record the state of the job in `folder`, whose number is the name of the folder, while the block runs."""
    if rank() > 0:
        yield
        return
    from ldm.training.resumption import Preempted  # imports torch, so only import it for training

    def write(state: str, error: str = "") -> None:
        write_json(folder / JOB, asdict(Job(int(folder.name), list(overrides), state, error)))

    write("running")
    try:
        yield
    except Preempted as error:
        write("stopped", str(error))
        raise
    except KeyboardInterrupt:
        write("stopped", "stopped by Ctrl-C")
        raise
    except BaseException as error:
        write("failed", str(error) or type(error).__name__)
        raise
    write("finished")


def varying(overrides: Sequence[str], all_jobs: Sequence[Sequence[str]]) -> list[str]:
    """Return the overrides of a job that not all jobs share."""
    common = set.intersection(*(set(job) for job in all_jobs))
    return [override for override in overrides if override not in common]


def what_varies(overrides: Sequence[str], all_jobs: Sequence[Sequence[str]]) -> str:
    return " ".join(varying(overrides, all_jobs))


def leave_to_slurm(ask_again: bool) -> None:
    """Wait until SLURM kills this job, since SLURM would count an exit as the end of the job. With `ask_again`, first
    ask SLURM to requeue the job; after a pre-emption SLURM does so by itself. Does nothing outside of SLURM."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    if ask_again and rank() == 0:
        array = os.environ.get("SLURM_ARRAY_JOB_ID")
        subprocess.run(
            ["scontrol", "requeue", f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else job], check=False
        )
    time.sleep(SLURM_KILLS_WITHIN)


def resolved_config(config: DictConfig) -> DictConfig:
    """Return the resolved config of the job. Sets its names for loggers: the name of the sweep, and the overrides that
    vary in it; and which settings only repeat other ones. Raises UserError for a value that its setting cannot have."""
    from .resumption import references  # imports torch, so only import it for training

    require_settings(config)
    folder = Path(HydraConfig.get().runtime.output_dir)
    with open_dict(config):
        config.job.known_as = references(config)
        if in_sweep():
            manifest = json.loads((folder.parent / SWEEP).read_text(encoding="utf-8"))
            every = [job["overrides"] for job in manifest["jobs"]]
            config.job.name = what_varies(own_overrides(), every)
            config.job.sweep = folder.parent.name
        else:
            choices = HydraConfig.get().runtime.choices
            config.job.name = f"{choices.get('concept') or choices['experiment']} {folder.name}"
    return cast(DictConfig, OmegaConf.create(OmegaConf.to_container(config, resolve=True)))
