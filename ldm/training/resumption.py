"""Training that can be interrupted at any time: its state is saved every few steps, every few minutes, and at the
signals that a cluster sends before it takes the machine back."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as L
from pytorch_lightning.plugins.io import TorchCheckpointIO

from ..errors import UserError
from ..files import replacing
from ..weights.pickled import load_pickled

STATE = "last.ckpt"
# Pre-emption, Ctrl-C, and a time limit that is close (SIGUSR1 does not exist on Windows).
SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1")
# Steps. Processes that train together must stop at the same step, and each agreement makes them wait for one another.
AGREE_EVERY = 10


def read_state(path: str | Path) -> dict[str, Any]:
    """Return the contents of a training checkpoint, on the CPU. Only tensors and plain values are loaded: nothing that
    the file names is imported or run. Raises UserError for any other file."""
    try:
        state = load_pickled(path, whole=True)
    except UserError as error:
        state = error
    if not isinstance(state, dict) or not isinstance(state.get("global_step"), int):
        why = f" ({str(state).rstrip('.')})" if isinstance(state, Exception) else ""
        raise UserError(
            f"{path} is damaged or not a training checkpoint{why}; no code in it was run. Remove it, or start from the "
            f"beginning with resume=null."
        )
    return state


class StateFiles(TorchCheckpointIO):
    """Checkpoint IO of the trainer; it loads checkpoints with `read_state`."""

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = True) -> dict[str, Any]:
        return read_state(path)


class Preempted(Exception):
    """A signal, named `by`, has ended the run before it was complete. `where` says after which step the state is saved;
    it is empty outside of the steps."""

    def __init__(self, by: str, where: str = "") -> None:
        super().__init__(by, where)
        self.by, self.where = by, where
        self.exit_code = 128 + (signal.SIGINT if by == "SIGINT" else signal.SIGTERM)

    def __str__(self) -> str:
        by = f"by {'Ctrl-C' if self.by == 'SIGINT' else self.by}"
        return f"stopped {self.where}, {by}; the state is saved" if self.where else f"stopped {by}"


def stop_at_once(where: str = "") -> None:
    """Let SIGTERM and SIGUSR1 raise `Preempted`, and Ctrl-C raise KeyboardInterrupt, wherever this process is."""

    def stop(number: int, *_: Any) -> None:
        raise Preempted(signal.Signals(number).name, where)

    if threading.current_thread() is threading.main_thread():
        for name in SIGNALS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.default_int_handler if name == "SIGINT" else stop)


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """`stop_at_once` for the block, except where a `Checkpoint` finishes a step first."""
    known = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in known}
    stop_at_once()
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


class Checkpoint(L.Callback):
    """Saves the state to `folder`/last.ckpt every `every_steps` steps, every `every_minutes` minutes, at the end, and
    at a signal, after which it raises `Preempted`. A second Ctrl-C ends the process at once. The file is replaced
    atomically. A run that early stopping has ended does not train on when it is resumed with early stopping."""

    def __init__(self, folder: str, every_steps: int, every_minutes: float = 10.0) -> None:
        self.path = Path(folder) / STATE
        self.every_steps, self.every_minutes = every_steps, every_minutes
        self.signal = ""  # name of the signal that asked to stop
        self._stopped_early = False
        self.record: dict[str, Any] = {}  # entries of every checkpoint, beside the state

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint.update(self.record)
        checkpoint["stopped_early"] = bool(trainer.should_stop and trainer.early_stopping_callback)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._stopped_early = checkpoint.get("stopped_early", False)
        early_stop: Any = trainer.early_stopping_callback
        state = checkpoint["callbacks"].get(early_stop.state_key) if early_stop else None
        if state and state["patience"] != early_stop.patience:  # its state would restore the old patience
            state["patience"] = early_stop.patience
            self._stopped_early = state["wait_count"] >= early_stop.patience

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.should_stop = self._stopped_early and trainer.early_stopping_callback is not None
        if trainer.global_step:
            obey_settings(trainer, pl_module)
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:  # the trainer restores the previous handlers at its end, also after an error
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), self._tell)

    def _tell(self, number: int, *_: Any) -> None:
        self.signal = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Save unless a validation follows: a run resumed from a state saved before the validation would skip it."""
        every = trainer.val_check_batch or trainer.max_steps
        if not (trainer.enable_validation and trainer.global_step % every == 0):
            self._after_step(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._after_step(trainer, pl_module)

    def _after_step(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        step = trainer.global_step
        late = time.monotonic() - self._saved_at > 60.0 * self.every_minutes
        stop, late = self._agreed(trainer, bool(self.signal)), self._agreed(trainer, late)
        if stop or late or step % self.every_steps == 0:
            self._save(trainer, pl_module)
        if stop:
            raise Preempted(self.signal or "another process", f"at step {step}")

    @staticmethod
    def _agreed(trainer: L.Trainer, wish: bool) -> bool:
        if trainer.world_size == 1:
            return wish
        return trainer.global_step % AGREE_EVERY == 0 and trainer.strategy.reduce_boolean_decision(wish, all=False)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, and let signals stop at once: no step is left to finish, and what is made now can be made later."""
        self._save(trainer, pl_module)
        stop_at_once("after the last step")

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step != self._saved_step:
            self.write(trainer, pl_module)
            self._saved_step, self._saved_at = trainer.global_step, time.monotonic()

    def write(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        save_state(trainer, self.path)


def obey_settings(trainer: L.Trainer, module: L.LightningModule) -> None:
    """Give the optimiser and the schedule, whose state may come from a checkpoint, the hyper-parameters of the module's
    own settings. Nothing changes if the checkpoint has the same ones."""
    configured: Any = module.configure_optimizers()
    scheduler = configured["lr_scheduler"]["scheduler"] if isinstance(configured, dict) else None
    own = (configured["optimizer"] if isinstance(configured, dict) else configured).param_groups
    (optimizer,) = trainer.optimizers
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.update({name: value for name, value in settings.items() if name != "params"})
    if scheduler is not None:
        restored: Any = trainer.lr_scheduler_configs[0].scheduler
        restored.base_lrs = scheduler.base_lrs
        rates = [b * f(restored.last_epoch) for b, f in zip(restored.base_lrs, restored.lr_lambdas, strict=True)]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        restored._last_lr = rates


def save_state(trainer: L.Trainer, path: Path) -> None:
    """Save the weights, the optimiser and the callbacks. Every process must call this function; rank 0 writes."""
    if not trainer.is_global_zero:
        trainer.save_checkpoint(path, weights_only=False)
        return
    with replacing(path) as partial:
        trainer.save_checkpoint(partial, weights_only=False)
