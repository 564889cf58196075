"""A job: from its resolved config to a finished training, in one process or in several that train together."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pytorch_lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ldm.training.resumption import STATE, Preempted, StateFiles
from ldm.weights.checkpoint import pretrained

from .jobs import leave_to_slurm, rank
from .processes import device_count, run_together
from .tracking import Track, loggers_of

log = logging.getLogger("train")

# Lightning's warnings in every run: the frozen model is in eval mode, batches are made in the main process, a call of
# its own is outdated, a cluster's srun is there and not needed.
HARMLESS = (
    "Found .* in eval mode", ".* does not have many workers", ".*LeafSpec", "The `srun` command is available",
)  # fmt: skip
PATIENCE = 60.0  # seconds: processes whose parent was killed need some to notice and to finish their step


def ignore_harmless_warnings() -> None:
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message)


def checkpoint_to_resume(resume: str | None, run: Path) -> str | None:
    """The checkpoint to go on from: `resume` is "auto" (the run folder's own, if any), a path that must exist, or
    None."""
    if resume is None:
        return None
    path = run / STATE if resume == "auto" else Path(resume)
    if path.is_file():
        return str(path)
    if resume == "auto":
        return None
    raise ValueError(f"resume={resume}: there is no such checkpoint; leave it out to start anew.")


@contextmanager
def lock_folder(run: Path) -> Iterator[None]:
    """Nobody else trains in the folder meanwhile. Raises ValueError if somebody does and does not leave."""
    lock = filelock.FileLock(run / ".lock")
    try:
        try:
            lock.acquire(timeout=0.0)
        except filelock.Timeout:
            log.info("another process trains in %s: waiting for it to end", run)
            lock.acquire(timeout=PATIENCE)
    except filelock.Timeout:
        raise ValueError(
            f"another process trains in {run}: give this one a folder of its own (hydra.run.dir=...)."
        ) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def fit(config: DictConfig) -> None:
    """Trains in this process, which may be one of several that were started together."""
    run = Path(config.paths.run)
    torch.manual_seed(config.seed)  # initial weights; every later draw is keyed by (seed, step)
    data = instantiate(config.data, _convert_="all")
    module = pretrained(instantiate(config.module, _convert_="all"), config.start_from)
    callbacks = [instantiate(callback, _convert_="all") for callback in config.callbacks.values() if callback]
    checkpoint = checkpoint_to_resume(config.resume, run)
    if checkpoint:
        log.info("resuming from %s", checkpoint)
    ignore_harmless_warnings()
    if rank() > 0:
        _train(config, module, data, callbacks, checkpoint)
        return
    OmegaConf.save(config, run / "config.yaml", resolve=True)
    with loggers_of(config) as loggers:
        _train(config, module, data, [*callbacks, Track(loggers, run)] if loggers else callbacks, checkpoint)


def _train(config: DictConfig, module: Any, data: Any, callbacks: list[L.Callback], checkpoint: str | None) -> None:
    trainer = instantiate(config.trainer, callbacks=callbacks, plugins=[StateFiles()], _convert_="all")
    try:
        with interruptible():
            trainer.fit(module, data, ckpt_path=checkpoint)
    except Preempted as stopped:
        log.info("%s", stopped)
        leave_to_slurm(ask_again=stopped.by == "SIGUSR1")
        raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C before the first step and after the last is a KeyboardInterrupt, where Lightning would leave with code 1
    and be deaf to the next."""
    try:
        yield
    except SystemExit as left:
        if isinstance(left.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None
        raise


def train(config: DictConfig) -> None:
    """Trains in this process or, if the config asks for more devices, in as many as there are."""
    run = Path(config.paths.run)
    if rank() > 0:  # the first of them looks after the folder and speaks
        logging.getLogger().setLevel(logging.ERROR)
        fit(config)
        return
    run.mkdir(parents=True, exist_ok=True)
    with lock_folder(run):
        count = device_count(config)
        if count == 1:
            fit(config)
        else:
            run_together(config, count)
