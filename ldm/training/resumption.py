"""Training that may be taken away at any moment: its state is saved by step, by time, and when a cluster says that it
wants the machine back."""

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from ..files import replacing

STATE = "last.ckpt"
# Of pre-emption, of Ctrl-C, and of a time limit that comes near, which Windows does not know.
SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1")
AGREE_EVERY = 10  # steps: processes that train together must stop at the same one, and to ask is to wait


def read_state(path: str | Path) -> dict[str, Any]:
    """What a checkpoint of a training holds, on the CPU. Only tensors and plain values are made of it: nothing that it
    names is imported or run. Raises ValueError for any other file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle may raise any
        state = error
    if not isinstance(state, dict) or "global_step" not in state:
        why = f" ({type(state).__name__})" if isinstance(state, Exception) else ""
        raise ValueError(
            f"{path} is damaged or no checkpoint of a training{why}, and nothing of it was run: remove it or give "
            f"resume=null to start anew."
        )
    return state


class StateFiles(TorchCheckpointIO):
    """How the trainer reads checkpoints: with `read_state`."""

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = True) -> dict[str, Any]:
        return read_state(path)


class Preempted(Exception):
    """Training ends before its last step, because a signal, whose name is `by`, asked for it; the state is saved."""

    def __init__(self, by: str, where: str) -> None:
        super().__init__(by, where)
        self.by, self.where = by, where
        self.exit_code = 128 + (signal.SIGINT if by == "SIGINT" else signal.SIGTERM)

    def __str__(self) -> str:
        return f"stopped {self.where}, by {'Ctrl-C' if self.by == 'SIGINT' else self.by}; the state is saved"


class Checkpoint(L.Callback):
    """`folder`/last.ckpt, every `every_steps` steps, every `every_minutes` minutes and at the end; and at a signal,
    after which training ends with `Preempted`. A second Ctrl-C ends the process at once. A file is replaced whole or
    not at all."""

    def __init__(self, folder: str, every_steps: int, every_minutes: float = 10.0) -> None:
        self.path = Path(folder) / STATE
        self.every_steps, self.every_minutes = every_steps, every_minutes
        self.signal = ""  # by which to stop

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:  # the trainer puts back what they did before, however it ends
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), self._tell)

    def _tell(self, number: int, *_: Any) -> None:
        self.signal = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """A step that a validation follows is done only after that: it would be left out by who goes on from here."""
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
        """From here on Ctrl-C interrupts: no step is left to be finished."""
        self._save(trainer, pl_module)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step != self._saved_step:
            self.write(trainer, pl_module)
            self._saved_step, self._saved_at = trainer.global_step, time.monotonic()

    def write(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        save_state(trainer, self.path)


def save_state(trainer: L.Trainer, path: Path) -> None:
    """Writes the weights, the optimiser and the callbacks. Every process must call it; the first one writes."""
    if not trainer.is_global_zero:
        trainer.save_checkpoint(path, weights_only=False)
        return
    with replacing(path) as partial:
        trainer.save_checkpoint(partial, weights_only=False)
