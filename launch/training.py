"""Train one job from its resolved config, in one process or in several."""

import logging
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import EarlyStopping

from ldm.errors import UserError
from ldm.files import remove_leftovers
from ldm.training.products import always_end
from ldm.training.quiet import quiet_lightning
from ldm.training.resumption import Checkpoint, Preempted, StateFiles, stopping_at_once
from ldm.weights.checkpoint import load_weights
from textual_inversion.learner import TextualInversion
from textual_inversion.pictures import load_pictures

from .folders import write_record
from .jobs import leave_to_slurm, rank
from .model import build_module
from .objective import objective
from .ownership import lock_folder
from .processes import device_count, run_together
from .resumption import resumption
from .tracking import Track, begin_anew, loggers_of

log = logging.getLogger("train")


def require_parts(config: DictConfig) -> None:
    """Raise UserError for concepts or a trainer that cannot be built. Call this before the model is built, which takes
    minutes."""
    if config.module is None:
        raise UserError("module has no value: there is nothing to train.")
    for node in config.module.get("concepts") or ():
        concept = instantiate(node, _convert_="all")
        if not Path(concept.images).is_dir():
            load_pictures(Path(concept.images), 1)  # raises the error
    try:
        trainer = instantiate(config.trainer, _convert_="all")
    except InstantiationException as error:
        refused = re.split(r"\.\s|\n", str(error.__cause__ or error).strip())[0]
        raise UserError(f"the trainer cannot be built ({refused}): change the settings in trainer.") from error
    if trainer.accumulate_grad_batches != 1:
        # The samples of a step are drawn by its number, and a resumed run would draw others.
        raise UserError(
            f"trainer.accumulate_grad_batches is {trainer.accumulate_grad_batches}: gradients of several batches "
            "cannot be summed up. Set module.checkpointing=true if memory is short."
        )


def fit(config: DictConfig) -> None:
    """Train in this process, which may be one of several that were started together."""
    run = Path(config.paths.run)
    quiet_lightning()
    require_parts(config)
    torch.manual_seed(config.seed)  # initial weights; every later draw is keyed by (seed, step)
    data = instantiate(config.data, _convert_="all")
    module = load_weights(build_module(config.module), config.start_from)
    callbacks = [instantiate(callback, _convert_="all") for callback in config.callbacks.values() if callback]
    # The state of early stopping must include the validation after which a checkpoint is saved.
    callbacks.sort(key=lambda callback: not isinstance(callback, EarlyStopping))
    begin = resumption(config, module)
    if begin.checkpoint:
        log.info("resuming from %s", begin.checkpoint)
    if isinstance(module, TextualInversion):
        module.changes = begin.changes
    for callback in callbacks:
        if isinstance(callback, Checkpoint):
            callback.record = begin.record
    if rank() > 0:
        _train(config, module, data, callbacks, begin.checkpoint)
        return
    if begin.checkpoint is None:
        begin_anew(run)
    write_record(run / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    with loggers_of(config) as loggers:
        _train(config, module, data, [*callbacks, Track(loggers, run)] if loggers else callbacks, begin.checkpoint)


def _train(config: DictConfig, module: Any, data: Any, callbacks: list[L.Callback], checkpoint: str | None) -> None:
    trainer = instantiate(config.trainer, callbacks=callbacks, plugins=[StateFiles()], _convert_="all")
    always_end(trainer)
    with interruptible():
        trainer.fit(module, data, ckpt_path=checkpoint)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let signals before the first and after the last step end the block at once. Lightning would exit with code 1 at a
    Ctrl-C and ignore a second one, and with code 0 at a SIGTERM before the first step. Under SLURM, a training that a
    signal has stopped is queued again."""
    try:
        with stopping_at_once():
            yield
    except Preempted as stopped:
        log.info("%s", stopped)
        leave_to_slurm(ask_again=stopped.by == "SIGUSR1")
        raise
    except SystemExit as left:
        if isinstance(left.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None
        raise


def train(config: DictConfig) -> float | list[float] | None:
    """Train in this process or, if the config needs more devices, in one process per device. Returns the numbers that
    `job.objective` names."""
    run = Path(config.paths.run)
    if rank() > 0:  # rank 0 manages the folder and logs
        logging.getLogger().setLevel(logging.ERROR)
        fit(config)
        return None
    run.mkdir(parents=True, exist_ok=True)
    with lock_folder(run):
        remove_leftovers(run)
        count = device_count(config)
        if count == 1:
            fit(config)
        else:
            run_together(config, count)
    return objective(config)
