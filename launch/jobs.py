"""The jobs of a sweep: what each is doing, which are left to do, and what went wrong. Every job keeps its state in its
own folder; the sweep's folder holds the list of all."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from ldm.files import write_json

JOB, SWEEP = "job.json", "sweep.json"
RESUME = "sweep.resume="
sweeper: int | None = None  # the process that launches the jobs of a sweep
SLURM_KILLS_WITHIN = 120.0  # seconds


def rank() -> int:
    """Number of this process among those that train one job together, as torchrun or srun tell it."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0)))


class JobFailed(Exception):
    """A job of a sweep failed and has said so in its log."""


@dataclass(frozen=True)
class Job:
    """`state` is waiting, running, finished, stopped (told to, its state is saved) or failed."""

    number: int
    overrides: list[str]
    state: str = "waiting"
    error: str = ""
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)


def job_in(folder: Path) -> Job | None:
    """What the job there wrote last, None before it began."""
    try:
        return Job(**json.loads((folder / JOB).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def in_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def own_overrides() -> list[str]:
    return list(HydraConfig.get().overrides.task)


@contextmanager
def track_job(folder: Path, overrides: Sequence[str]) -> Iterator[None]:
    """Writes down what becomes of the job in `folder`, whose number is the folder's name."""
    if rank() > 0:
        yield
        return
    from ldm.training.resumption import Preempted  # torch: only where something trains

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
    """Those of a job's overrides that not all jobs share."""
    common = set.intersection(*(set(job) for job in all_jobs))
    return [override for override in overrides if override not in common]


def what_varies(overrides: Sequence[str], all_jobs: Sequence[Sequence[str]]) -> str:
    return " ".join(varying(overrides, all_jobs))


def leave_to_slurm(ask_again: bool) -> None:
    """A job that SLURM wants to stop waits for its end, since its exit would count as a result. With `ask_again` it
    asks to be queued once more; where the job is pre-empted SLURM does so itself."""
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
    """The job's resolved config, with the names under which loggers file it: of the sweep, and what varies in it."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with open_dict(config):
        if in_sweep():
            manifest = json.loads((folder.parent / SWEEP).read_text(encoding="utf-8"))
            every = [job["overrides"] for job in manifest["jobs"]]
            config.job.name = what_varies(own_overrides(), every)
            config.job.sweep = folder.parent.name
        else:
            choices = HydraConfig.get().runtime.choices
            config.job.name = f"{choices.get('concept') or choices['experiment']} {folder.name}"
    return cast(DictConfig, OmegaConf.create(OmegaConf.to_container(config, resolve=True)))


def with_resumed_sweep(arguments: list[str]) -> list[str]:
    """The command line of the sweep that `sweep.resume=<folder>` names, in the same folder; what else stands on the
    command line comes after it."""
    resumed = [argument for argument in arguments if argument.startswith(RESUME)]
    if not resumed:
        return arguments
    folder = Path(resumed[-1].removeprefix(RESUME))
    try:
        earlier = json.loads((folder / SWEEP).read_text(encoding="utf-8"))["command"]
    except FileNotFoundError:
        sys.exit(f"error: {folder} is no sweep's folder: there is no {SWEEP} in it.")
    more = [argument for argument in arguments if not argument.startswith(RESUME)]
    return [a for a in earlier if not a.startswith("hydra.sweep.dir=")] + more + [f"hydra.sweep.dir={folder}"]
