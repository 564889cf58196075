"""The jobs of a sweep and their states. Every job stores its state in its own folder; the folder of the sweep holds the
list of all jobs."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import psutil
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import filter_overrides
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from ldm.files import read_json, write_json

from .settings import require_settings

JOB, SWEEP = "job.json", "sweep.json"
sweeper: int | None = None  # the process of the command, which launches the jobs of a sweep
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
    """Read the job in `folder` as it was last written; None if it has not started, or if its record is broken."""
    record = read_json(folder / JOB)
    if not isinstance(record, dict) or record.keys() != {f.name for f in fields(Job)}:
        return None
    job = Job(**record)
    texts = (job.state, job.error, *(job.overrides if isinstance(job.overrides, list) else [None]))
    return job if isinstance(job.number, int) and all(isinstance(text, str) for text in texts) else None


def as_it_ended(job: Job) -> Job:
    """Return the job as failed if its record says that it is running, but its process on this machine is gone."""
    gone = job.state == "running" and job.host == socket.gethostname() and not psutil.pid_exists(job.pid)
    return replace(job, state="failed", error="its process was killed") if gone else job


def sweep_in(folder: Path) -> tuple[str, dict[int, list[str]]]:
    """Read the record of the sweep in `folder`: its id, and number -> overrides of its jobs. Both are empty without a
    record, or if it is broken."""
    record = read_json(folder / SWEEP)
    try:
        every = {int(job["number"]): [str(override) for override in job["overrides"]] for job in record["jobs"]}
        return str(record.get("id", "")), every
    except (AttributeError, KeyError, TypeError, ValueError):
        return "", {}


def group_of(folder: Path) -> str:
    """Return the name of a sweep for loggers. Sweeps of one second, or of one name, differ in it."""
    identity, _ = sweep_in(folder)
    return f"{folder.name}-{identity}" if identity else folder.name


# Settings that say how a job runs, not what it computes; and those that a job may go on with.
HOW = ("launcher", "logger", "slurm", "own_gpu", "resume")
LENGTH = ("trainer.max_steps",)


def essence(overrides: Sequence[str], without: Sequence[str]) -> dict[str, str]:
    """Return setting -> value of a job's overrides, without the settings in `without` and what is below them. The last
    of several values counts."""
    pairs = {name: value for name, _, value in (override.lstrip("+").partition("=") for override in overrides)}
    below = tuple(f"{name}." for name in without)
    return {name: value for name, value in pairs.items() if name not in without and not name.startswith(below)}


def in_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def own_overrides() -> list[str]:
    return overrides_of(HydraConfig.get())


def overrides_of(hydra: Any) -> list[str]:
    """Return the overrides of a job from its config of Hydra, as they were given: one may not be resolvable."""
    return list(filter_overrides(cast(list[str], OmegaConf.to_container(hydra.overrides.task))))


@contextmanager
def track_job(folder: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Record the state of the job in `folder`, whose number is the name of the folder, while the block runs."""
    if rank() > 0:
        yield
        return

    def write(state: str, error: str = "") -> None:
        write_json(folder / JOB, asdict(Job(int(folder.name), list(overrides), state, error)))

    write("running")
    try:
        yield
    except KeyboardInterrupt:
        write("stopped", "stopped by Ctrl-C")
        raise
    except BaseException as error:
        state = "stopped" if type(error).__name__ == "Preempted" else "failed"  # its module imports torch
        write(state, str(error) or type(error).__name__)
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


def end_with_parent() -> None:
    """Send SIGTERM to this process when the process that started it has ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30.0)
        os._exit(1)  # the process is stuck waiting for the others

    threading.Thread(target=watch, daemon=True).start()


def resolved_config(config: DictConfig) -> DictConfig:
    """Return the resolved config of the job. Sets its names for loggers: the name of the sweep, and the overrides that
    vary in it; and which settings only repeat other ones. Raises UserError for a value that its setting cannot have."""
    from .resumption import references  # imports torch, so only import it for training

    require_settings(config)
    folder = Path(HydraConfig.get().runtime.output_dir)
    with open_dict(config):
        config.job.known_as = references(config)
        if in_sweep():
            own = own_overrides()
            config.job.name = what_varies(own, [*sweep_in(folder.parent)[1].values(), own]) or folder.name
            config.job.sweep = group_of(folder.parent)
        else:
            choices = HydraConfig.get().runtime.choices
            config.job.name = f"{choices.get('concept') or choices['experiment']} {folder.name}"
    return cast(DictConfig, OmegaConf.create(OmegaConf.to_container(config, resolve=True)))
