"""Loggers of a run: W&B, TensorBoard, CSV, several at once. What goes wrong in one is said once and stops nothing."""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from textual_inversion.evaluation.evaluation import RESULT, summary
from textual_inversion.learner import TextualInversion
from textual_inversion.words.file import FILE_NAME

log = logging.getLogger("train")


class Guarded:
    """A logger of which the first thing that fails is said, and then no more is asked."""

    def __init__(self, logger: Logger) -> None:
        self.logger, self.broken = logger, False

    def attempt(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        if not self.broken:
            try:
                call(*arguments, **named)
            except Exception as error:
                self.broken = True
                log.warning("%s logs no more: %s", type(self.logger).__name__, error)

    def picture(self, name: str, path: Path, step: int) -> None:
        """Where the logger shows pictures."""
        if isinstance(self.logger, WandbLogger):
            self.logger.log_image(name, [str(path)], step)
        elif isinstance(self.logger, TensorBoardLogger):
            self.logger.experiment.add_image(name, np.asarray(Image.open(path).convert("RGB")), step, dataformats="HWC")

    def file(self, name: str, kind: str, path: Path) -> None:
        """As an artifact, where the logger has such."""
        if isinstance(self.logger, WandbLogger):
            import wandb

            artifact = wandb.Artifact(name, kind)
            artifact.add_file(str(path))
            self.logger.experiment.log_artifact(artifact)

    def result(self, values: dict[str, Any]) -> None:
        """What the run came to, where the logger has a summary."""
        if isinstance(self.logger, WandbLogger):
            self.logger.experiment.summary.update(values)

    def finish(self, exit_code: int) -> None:
        self.logger.finalize("failed" if exit_code else "success")
        if isinstance(self.logger, WandbLogger):
            self.logger.experiment.finish(exit_code=exit_code)


def wandb_logger(folder: str, project: str, group: str | None, name: str | None) -> WandbLogger:
    """A run of its own, also where others are open in this process. Without a key it is kept offline, in
    `folder`/wandb: nobody is ever asked for one."""
    import wandb

    asked = os.environ.get("WANDB_MODE")
    has_key = bool(os.environ.get("WANDB_API_KEY")) or wandb.api.api_key is not None
    mode: Any = asked or ("online" if has_key else "offline")
    settings = wandb.Settings(silent=True, console="off", init_timeout=30.0)
    run = wandb.init(
        project=project, group=group, name=name, dir=folder, mode=mode, reinit="create_new", settings=settings
    )
    return WandbLogger(experiment=run)


@contextmanager
def loggers_of(config: DictConfig) -> Iterator[list[Guarded]]:
    """The loggers that a job's config names, each told the config; at the end they hear whether it succeeded."""
    loggers = []
    for node in (config.get("logger") or {}).values():
        try:
            loggers.append(Guarded(instantiate(node, _convert_="all")))
        except Exception as error:
            log.warning("%s cannot log: %s", node._target_, error)
    for guarded in loggers:
        guarded.attempt(guarded.logger.log_hyperparams, OmegaConf.to_container(config, resolve=True))
    exit_code = 1
    try:
        yield loggers
        exit_code = 0
    finally:
        for guarded in loggers:
            guarded.attempt(guarded.finish, exit_code)


class Track(L.Callback):
    """Hands on to `loggers` what the run in `folder` leaves there: metrics, learning rates and samples a second every
    `every` steps, pictures as they appear, and at the end the learned word."""

    def __init__(self, loggers: Sequence[Guarded], folder: Path, every: int = 10) -> None:
        self.loggers, self.folder, self.every = list(loggers), folder, every
        self.shown: set[Path] = set()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.since = trainer.global_step, time.perf_counter()
        self._pictures(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every == 0:
            before, start = self.since
            self.since = step, time.perf_counter()
            batch = getattr(trainer.datamodule or pl_module, "batch_size", 1)  # pyright: ignore
            speed = {"samples_a_second": batch * trainer.world_size * (step - before) / (self.since[1] - start)}
            groups = trainer.optimizers[0].param_groups
            rates = {f"lr/{i}" if len(groups) > 1 else "lr": group["lr"] for i, group in enumerate(groups)}
            self._metrics(trainer, "train/", speed | rates)
            self._pictures(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._metrics(trainer, "val/", {})

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._pictures(trainer)
        if isinstance(pl_module, TextualInversion):
            learned = pl_module.embeddings.placeholders
            result: dict[str, Any] = {
                f"nearest_words/{word}": ", ".join(pl_module.nearest_words(word)) for word in learned
            }
            if (self.folder / RESULT).is_file():
                found = json.loads((self.folder / RESULT).read_text(encoding="utf-8"))
                result |= {f"evaluation/{name}": value for name, value in summary(found).items()}
            for guarded in self.loggers:
                guarded.attempt(guarded.result, result)
                guarded.attempt(guarded.file, self.folder.name, "embedding", self.folder / FILE_NAME)

    def _metrics(self, trainer: L.Trainer, prefix: str, more: dict[str, float]) -> None:
        metrics = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith(prefix)}
        for guarded in self.loggers:
            guarded.attempt(guarded.logger.log_metrics, metrics | more, trainer.global_step)

    def _pictures(self, trainer: L.Trainer) -> None:
        for path in sorted({*self.folder.glob("*.png"), *self.folder.glob("*/*.png")} - self.shown):
            self.shown.add(path)
            name = "sheet" if path.parent == self.folder else path.parent.name
            for guarded in self.loggers:
                guarded.attempt(guarded.picture, name, path, trainer.global_step)
