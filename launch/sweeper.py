"""The sweeper of all sweeps. It extends Hydra's basic sweeper: it writes the list of jobs, skips finished ones, and
reports failures at the end."""

import itertools
import logging
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn, filter_overrides
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict

from ldm.files import read_json, relative

from . import failures, jobs
from .command import INTERRUPTED
from .shell import this_command

log = logging.getLogger(__name__)

# Files of a job: its evaluation, and the record of what it made at its end. Their names are not imported from
# textual_inversion.evaluation and ldm.training.products, because those import torch.
RESULT, PRODUCTS = "evaluation.json", "products.json"


class ManifestSweeper(BasicSweeper):
    def setup(self, *, config: Any, **context: Any) -> None:
        with open_dict(config):
            config.hydra.sweep.dir = str(config.hydra.sweep.dir)  # resolve the time once for all jobs
        super().setup(config=config, **context)
        launcher = cast(Launcher, self.launcher)
        logger = OmegaConf.select(config, "logger.wandb")
        trackers = dict(cast(Any, OmegaConf.to_container(logger))) if isinstance(logger, DictConfig) else None
        self.launcher = cast(Launcher, Unfinished(launcher, Path(config.hydra.sweep.dir), trackers))


def blocks(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Split ascending numbers where one is left out: Hydra's launchers count on from the first number."""
    for _, block in itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        yield [number for _, number in block]


class Unfinished:
    """Launches the jobs of a sweep that are not yet finished in `folder`. `wandb` are the settings of the jobs' logger
    of that name; None without one."""

    def __init__(self, launcher: Launcher, folder: Path, wandb: Mapping[str, Any] | None) -> None:
        self.launcher, self.folder, self.wandb = launcher, folder, wandb

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        sweep_id, earlier = jobs.sweep_in(self.folder)
        every = self._numbered([list(filter_overrides(o)) for o in job_overrides], earlier, initial_job_idx)
        known = [{"number": number, "overrides": overrides} for number, overrides in every.items()]
        identity = sweep_id or uuid.uuid4().hex[:8]
        jobs.write_json(self.folder / jobs.SWEEP, {"id": identity, "command": sys.argv[1:], "jobs": known})
        given = dict(zip(every, job_overrides, strict=True))
        left = [number for number in sorted(every) if not self._finished(number, every[number])]
        if len(left) < len(every):
            log.info("%d of %d jobs are already finished", len(every) - len(left), len(every))
        error, code = "", 1
        try:
            self._launch(left, given)
        except KeyboardInterrupt:
            code = INTERRUPTED
        except SystemExit as stop:
            if not isinstance(stop.code, int):
                raise
            code = stop.code
        except Exception as failure:
            error = failures.report(failure)
        self._report(every, error, code)
        return []

    def _launch(self, numbers: Sequence[int], given: Mapping[int, Sequence[str]]) -> None:
        """Launch jobs. If the process of one is killed, joblib ends those beside it as well: they go on from their
        checkpoints, unless they have run when that happened before, and then the waiting ones run."""
        struck: set[int] = set()
        while numbers:
            before = {number: jobs.job_in(self.folder / str(number)) for number in numbers}
            try:
                for block in blocks(numbers) if isinstance(self.launcher, BasicLauncher) else [numbers]:
                    named = [[*given[number], f"hydra.sweep.subdir={number}"] for number in block]
                    self.launcher.launch(named, initial_job_idx=block[0])
                return
            except Exception as error:
                if type(error).__name__ != "TerminatedWorkerError":  # of joblib
                    raise
                after = {number: jobs.job_in(self.folder / str(number)) for number in numbers}
                waiting = [number for number in numbers if after[number] == before[number]]
                running = {n for n in numbers if n not in waiting and (job := after[n]) and job.state == "running"}
                if not running:
                    raise
                numbers = sorted([*waiting, *(running - struck)])
                log.warning("a job's process was killed; %d jobs were running and %d go on", len(running), len(numbers))
                struck |= running

    def _numbered(
        self, jobs_overrides: Sequence[list[str]], earlier: Mapping[int, list[str]], first: int
    ) -> dict[int, list[str]]:
        """Return number -> overrides. A job keeps the number that it had `earlier`; a new one gets the next free."""
        without = (*jobs.HOW, *jobs.LENGTH)
        numbers = {number: jobs.essence(overrides, without) for number, overrides in earlier.items()}
        taken = [int(path.name) for path in self.folder.glob("*") if path.name.isdecimal()] if earlier else []
        free = itertools.count(max([*earlier, *taken], default=first - 1) + 1)
        every: dict[int, list[str]] = {}
        for overrides in jobs_overrides:
            essence = jobs.essence(overrides, without)
            same = next((n for n, other in numbers.items() if other == essence and n not in every), None)
            every[next(free) if same is None else same] = overrides
        return every

    def _finished(self, number: int, overrides: list[str]) -> bool:
        job, made = jobs.job_in(self.folder / str(number)), read_json(self.folder / str(number) / PRODUCTS)
        whole = all(
            (self.folder / str(number) / str(name)).is_file() for name in (made if isinstance(made, dict) else ())
        )
        same = job is not None and jobs.essence(job.overrides, jobs.HOW) == jobs.essence(overrides, jobs.HOW)
        return job is not None and job.state == "finished" and same and whole

    def _report(self, every: dict[int, list[str]], error: str, code: int) -> None:
        """Log the outcome of the sweep. Exits with `code` if a job is not finished."""
        if any((self.folder / str(number) / RESULT).is_file() for number in every):
            from . import sweep_report  # imports matplotlib and torch, so only import it for a plot

            if sweep_report.report(self.folder, every) and self.wandb is not None:
                from .tracking import track_sweep

                table, plot = (self.folder / f"{sweep_report.NAME}.{suffix}" for suffix in ("csv", "png"))
                track_sweep(self.wandb, self.folder, jobs.group_of(self.folder), table, plot)
        lines = []
        for number, overrides in every.items():
            job = jobs.job_in(self.folder / str(number)) or jobs.Job(number, overrides)
            if job.state != "finished":
                job = jobs.as_it_ended(job)
                place = relative(self.folder / str(number) / "train.log")
                varies = jobs.what_varies(overrides, list(every.values()))
                lines.append(f"  #{number} {varies}: {job.state}{': ' if job.error else ''}{job.error} ({place})")
        if error:
            lines.append(f"  the launcher ended: {error}")
        if lines:
            log.error("%d of %d jobs are not finished:\n%s", len(lines) - bool(error), len(every), "\n".join(lines))
            log.error("to run them: %s", this_command(f"sweep.resume={relative(self.folder)}"))
            sys.exit(code)
        log.info("all %d jobs are finished: %s", len(every), relative(self.folder))
