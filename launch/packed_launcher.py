"""`launcher=packed`: jobs of a sweep with the same frozen model are trained together, in one process and one batch."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from . import jobs
from .command import stop_sweep_on_signal

log = logging.getLogger(__name__)


class PackedLauncher(Launcher):
    """Every job gets its own folder and files, as if it was launched alone. `max_size` is the largest number of jobs in
    a pack; None means as many as fit the memory. A job that cannot share a pack is trained alone."""

    def __init__(self, max_size: int | None = None) -> None:
        self.max_size = max_size

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from . import packs  # imports torch; every sweep imports this file, so import it only here
        from .objective import objective

        setup_globals()
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        configs = [self._job_config(o, initial_job_idx + i) for i, o in enumerate(job_overrides)]
        returns = [self._run(config, jobs.resolved_config) for config in configs]
        resolved = {i: job.return_value for i, job in enumerate(returns) if job.status == JobStatus.COMPLETED}
        numbers = list(resolved)
        words = [" ".join(filter_overrides(overrides)) for overrides in job_overrides]

        def alone(i: int) -> None:
            log.info("training alone: #%s: %s", configs[i].hydra.sweep.subdir, words[i])
            returns[i] = self._run(configs[i], self.task_function)

        def together(members: Sequence[int], ldm: Any) -> None:
            """Train one pack; if it fails, its halves."""
            if len(members) == 1:
                alone(members[0])
                return
            says = [f"#{configs[i].hydra.sweep.subdir}: {words[i]}" for i in members]
            log.info("training together:\n  %s", "\n  ".join(says))
            try:
                self._fit([resolved[i] for i in members], [configs[i] for i in members], ldm)
            except jobs.JobFailed as failure:
                log.warning("a pack of %d failed (%s): training its halves apart", len(members), failure)
                for half in packs.halves(members):
                    together(half, None)
                return
            for i in members:
                returns[i].return_value = objective(resolved[i])

        for i in range(len(configs)):
            if i not in resolved:  # the job says what is wrong with its config
                alone(i)
        for members, ldm in packs.group([resolved[i] for i in numbers], self.max_size):
            together([numbers[i] for i in members], ldm)
        return returns

    @staticmethod
    def _fit(resolved: list[DictConfig], configs: list[DictConfig], ldm: Any) -> None:
        """Train jobs together. Raises JobFailed if one of them cannot be trained."""
        from ldm.training.resumption import Preempted

        from . import packs

        with stop_sweep_on_signal(), ExitStack() as stack:
            for own, config in zip(resolved, configs, strict=True):
                stack.enter_context(jobs.track_job(Path(own.paths.run), jobs.overrides_of(config.hydra)))
            try:
                packs.fit(resolved, ldm)
            except (Preempted, KeyboardInterrupt):
                raise
            except Exception as error:
                raise jobs.JobFailed(f"{type(error).__name__}: {error}") from error

    def _job_config(self, overrides: Sequence[str], number: int) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _run(self, config: DictConfig, task: TaskFunction) -> JobReturn:
        job = run_job(
            hydra_context=self.hydra_context,
            task_function=task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        # run_job has redirected the log to the job's own file.
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return job
