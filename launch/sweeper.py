"""The sweeper of all sweeps. It extends Hydra's basic sweeper: it writes the list of jobs, skips finished ones, and
reports failures at the end."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn, filter_overrides
from hydra.plugins.launcher import Launcher
from omegaconf import open_dict

from ldm.files import read_json

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
        self.launcher = cast(Launcher, Unfinished(launcher, Path(config.hydra.sweep.dir)))


class Unfinished:
    """Launches the jobs of a sweep that are not yet finished in `folder`."""

    def __init__(self, launcher: Launcher, folder: Path) -> None:
        self.launcher, self.folder = launcher, folder

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        every = {initial_job_idx + i: list(filter_overrides(o)) for i, o in enumerate(job_overrides)}
        manifest = {"command": sys.argv[1:], "jobs": [{"number": n, "overrides": o} for n, o in every.items()]}
        jobs.write_json(self.folder / jobs.SWEEP, manifest)
        left = [number for number in every if not self._finished(number, every[number])]
        if len(left) < len(every):
            log.info("%d of %d jobs are already finished", len(every) - len(left), len(every))
        error, code = "", 1
        jobs.sweeper = os.getpid()
        if left:
            named = [[*job_overrides[n - initial_job_idx], f"hydra.sweep.subdir={n}"] for n in left]
            try:
                self.launcher.launch(named, initial_job_idx=initial_job_idx)
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

    def _finished(self, number: int, overrides: list[str]) -> bool:
        job = jobs.job_in(self.folder / str(number))
        made = read_json(self.folder / str(number) / PRODUCTS) or {}
        whole = all((self.folder / str(number) / name).is_file() for name in made)
        return job is not None and job.state == "finished" and job.overrides == overrides and whole

    def _report(self, every: dict[int, list[str]], error: str, code: int) -> None:
        """Log the outcome of the sweep. Exits with `code` if a job is not finished."""
        if any((self.folder / str(number) / RESULT).is_file() for number in every):
            from . import sweep_report  # imports matplotlib and torch, so only import it for a plot

            sweep_report.report(self.folder, every)
        lines = []
        for number, overrides in every.items():
            job = jobs.job_in(self.folder / str(number)) or jobs.Job(number, overrides)
            if job.state != "finished":
                place = os.path.relpath(self.folder / str(number) / "train.log")
                varies = jobs.what_varies(overrides, list(every.values()))
                lines.append(f"  #{number} {varies}: {job.state}{': ' if job.error else ''}{job.error} ({place})")
        if error:
            lines.append(f"  the launcher ended: {error}")
        if lines:
            log.error("%d of %d jobs are not finished:\n%s", len(lines) - bool(error), len(every), "\n".join(lines))
            log.error("to run them: %s", this_command(f"sweep.resume={os.path.relpath(self.folder)}"))
            sys.exit(code)
        log.info("all %d jobs are finished: %s", len(every), os.path.relpath(self.folder))
