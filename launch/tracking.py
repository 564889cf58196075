"""Loggers of a run: W&B, TensorBoard, or both. An error in a logger causes one warning and never stops the run."""

import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from ldm.files import write_whole
from ldm.training.callbacks import learning_rates
from textual_inversion.evaluation.evaluation import RESULT, read_result, summary
from textual_inversion.learner import TextualInversion
from textual_inversion.words.file import FILE_NAME

log = logging.getLogger("train")

WANDB_ID = "wandb_id.txt"


class Guarded:
    """Wraps a logger. Its first error is logged as a warning; after that the logger is not called any more."""

    def __init__(self, logger: Logger) -> None:
        self.logger, self.broken = logger, False

    def attempt(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        if not self.broken:
            try:
                call(*arguments, **named)
            except Exception as error:
                self.broken = True
                log.warning("%s is disabled after an error: %s", type(self.logger).__name__, error)

    def picture(self, name: str, path: Path, step: int) -> None:
        """Log an image, if the logger supports images."""
        if isinstance(self.logger, WandbLogger):
            self.logger.log_image(name, [str(path)], step)
        elif isinstance(self.logger, TensorBoardLogger):
            self.logger.experiment.add_image(name, np.asarray(Image.open(path).convert("RGB")), step, dataformats="HWC")

    def file(self, name: str, kind: str, path: Path) -> None:
        """Log a file as an artifact, if the logger supports artifacts."""
        if isinstance(self.logger, WandbLogger):
            import wandb

            run = self.logger.experiment
            # W&B accepts few characters and 128 of them. The id tells apart what has the same name, such as jobs 0.
            known_as = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)[-80:].strip("-")
            artifact = wandb.Artifact(f"{known_as}-{run.id}", kind)
            artifact.add_file(str(path))
            run.log_artifact(artifact)

    def result(self, values: dict[str, Any]) -> None:
        """Add values to the summary of the run, if the logger has one."""
        if isinstance(self.logger, WandbLogger):
            self.logger.experiment.summary.update(values)

    def finish(self, exit_code: int) -> None:
        self.logger.finalize("failed" if exit_code else "success")
        if isinstance(self.logger, WandbLogger):
            self.logger.experiment.finish(exit_code=exit_code)


def wandb_logger(
    folder: str,
    project: str,
    group: str | None,
    name: str | None,
    entity: str | None = None,
    tags: Sequence[str] = (),
    notes: str | None = None,
) -> WandbLogger:
    """Start a run of W&B, even if others are open in this process; or go on with that of `folder`, whose id is kept
    there. Without an API key, the run is offline, in `folder`/wandb; W&B never prompts for a key."""
    import wandb

    known = Path(folder) / WANDB_ID
    text = known.read_text(encoding="utf-8", errors="replace").strip() if known.is_file() else ""
    identity = text if re.fullmatch(r"\w{1,64}", text, flags=re.ASCII) else uuid.uuid4().hex[:8]
    write_whole(known, identity.encode())

    asked = os.environ.get("WANDB_MODE")
    has_key = bool(os.environ.get("WANDB_API_KEY")) or wandb.api.api_key is not None
    mode: Any = asked or ("online" if has_key else "offline")
    settings = wandb.Settings(silent=True, console="off", init_timeout=30.0)
    offline = mode != "online"  # then W&B joins the parts of a run by its id when they are uploaded
    run = wandb.init(
        project=project, group=group, name=name, entity=entity, tags=[*tags], notes=notes, dir=folder, mode=mode,
        id=identity, resume=None if offline else "allow", reinit="create_new", settings=settings,
    )  # fmt: skip
    return WandbLogger(experiment=run)


def begin_anew(folder: Path) -> None:
    """Forget the run of W&B of an earlier training in the folder."""
    (folder / WANDB_ID).unlink(missing_ok=True)


def track_sweep(settings: Mapping[str, Any], folder: Path, group: str, table: Path, plot: Path) -> None:
    """Log a sweep's table and plot as a run of W&B, in the group of the sweep's jobs. `settings` are those of the
    jobs' logger. An error causes a warning."""
    import wandb

    given = {name: settings.get(name) for name in ("project", "entity", "tags", "notes") if settings.get(name)}
    try:
        run = wandb_logger(
            str(folder), group=group, name="results", **{"project": "textual-inversion", **given}
        ).experiment
        run.log({"results": wandb.Table(dataframe=pd.read_csv(table)), "plot": wandb.Image(str(plot))})
        run.finish()
    except Exception as error:
        log.warning("the table of the sweep is not logged to W&B: %s", error)


@contextmanager
def loggers_of(config: DictConfig) -> Iterator[list[Guarded]]:
    """Build the loggers of a job's config and log the config. At the end of the block, tell them whether the job
    succeeded."""
    loggers = []
    for node in (config.get("logger") or {}).values():
        try:
            loggers.append(Guarded(instantiate(node, _convert_="all")))
        except Exception as error:
            log.warning("cannot start the logger %s: %s", node._target_, error)
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
    """Forwards the output of the run in `folder` to `loggers`: metrics, learning rates and samples per second every
    `every` steps and at the first, images as they appear, and at the end the learned word."""

    def __init__(self, loggers: Sequence[Guarded], folder: Path, every: int = 10) -> None:
        self.loggers, self.folder, self.every = list(loggers), folder, every
        self.shown: set[Path] = set()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.since = trainer.global_step, time.perf_counter()
        self._pictures(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every == 0 or step == 1:
            before, start = self.since
            self.since = step, time.perf_counter()
            batch = getattr(trainer.datamodule or pl_module, "batch_size", 1)  # pyright: ignore
            speed = {"samples_a_second": batch * trainer.world_size * (step - before) / (self.since[1] - start)}
            self._metrics(trainer, "train/", speed | learning_rates(trainer))
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
            if found := read_result(self.folder / RESULT):
                result |= {f"evaluation/{name}": value for name, value in summary(found).items()}
            name = f"{self.folder.parent.name}-{self.folder.name}"
            for guarded in self.loggers:
                guarded.attempt(guarded.result, result)
                if (self.folder / FILE_NAME).is_file():
                    guarded.attempt(guarded.file, name, "embedding", self.folder / FILE_NAME)

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
