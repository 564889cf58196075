"""Packs: runs of textual inversion with the same frozen model are trained in one batch. Each run learns the same word
as it would alone: samples of a batch do not interact, so the gradient of a run depends only on its own samples."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytorch_lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ldm.errors import UserError
from ldm.training.data import BatchStream, FixedBatches

from .learner import TextualInversion

PackBatch = Mapping[int, Mapping[str, Tensor]]  # index of the run -> its batch


class Pack(L.LightningModule):
    """Trains `runs` as one module. They must share one frozen model and have equally many validation batches."""

    def __init__(self, runs: Sequence[TextualInversion]) -> None:
        super().__init__()
        self.strict_loading = False  # the frozen model is not in the checkpoint
        self.ldm = runs[0].ldm
        self._ddp_params_and_buffers_to_ignore = runs[0]._ddp_params_and_buffers_to_ignore
        if any(run.ldm is not self.ldm for run in runs):
            raise UserError("the runs of a pack must share one frozen model: build it once and pass it to each run.")
        self.runs = cast(Sequence[TextualInversion], nn.ModuleList(runs))
        self.stopped: dict[int, int] = {}  # run -> the step at which it ended before the others

    def still_training(self) -> dict[int, TextualInversion]:
        """Return the runs that are still training, index -> run."""
        return {i: run for i, run in enumerate(self.runs) if i not in self.stopped}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        state = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if name.startswith("runs.") and ".embeddings." in name}

    def setup(self, stage: str) -> None:
        self.runs[0].setup(stage)

    def on_fit_start(self) -> None:
        for run in self.runs:
            run.on_fit_start()

    def draw(self, step: int, rank: int = 0) -> PackBatch:
        """Draw the batches of optimiser step `step` in process `rank`."""
        return {i: run.draw(step, rank) for i, run in self.still_training().items()}

    def losses(self, batch: PackBatch) -> dict[int, Tensor]:
        """Return eq. 2 for each concept of each run that is still training: index -> [number of concepts]."""
        rows = {i: run.embed(batch[i]) for i, run in self.still_training().items() if i in batch}
        losses: dict[int, Tensor] = {}
        for ndim in {each.ndim for each in rows.values()}:  # words with and without vectors for each layer, apart
            some = [i for i, each in rows.items() if each.ndim == ndim]
            z_0, t, eps = (torch.cat([batch[i][name] for i in some]) for name in ("z_0", "t", "eps"))
            per_sample = self.runs[0].objective(self.ldm, torch.cat([rows[i] for i in some]), z_0, t, eps)
            losses |= zip(some, per_sample.split([len(batch[i]["t"]) for i in some]), strict=True)
        return {i: self.runs[i].per_concept(losses[i]) for i in rows}

    def training_step(self, batch: PackBatch, batch_idx: int) -> Tensor:
        losses = self.losses(batch)
        for i, own in losses.items():
            self.runs[i].require_finite(own, self.global_step)
            self.log(f"{i}/train/loss", own.detach().mean())
        everything = torch.cat(list(losses.values()))
        self.log("train/loss", everything.detach().mean(), prog_bar=True)
        return everything.sum() + torch.stack([self.runs[i].penalty() for i in losses]).sum()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        for run in self.still_training().values():
            run.before_step(self.global_step)

    def after_step(self, *_: Any) -> None:
        for run in self.still_training().values():
            run.after_step()

    def validation_step(self, batch: PackBatch, batch_idx: int) -> None:
        losses = self.losses(batch)
        for i, own in losses.items():
            metrics = {f"{i}/{name}": value for name, value in self.runs[i].validation_metrics(own).items()}
            self.log_dict(metrics, batch_size=1, sync_dist=True)
        self.log("val/loss", torch.cat(list(losses.values())).mean(), prog_bar=True, batch_size=1, sync_dist=True)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(BatchStream(partial(self.draw, rank=self.global_rank), self.global_step), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        together = zip(*(run.validation_batches() for run in self.runs), strict=True)
        return DataLoader(FixedBatches([dict(enumerate(batches)) for batches in together]), batch_size=None)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW([group for run in self.runs for group in run.parameter_groups()])
        optimizer.register_step_post_hook(self.after_step)
        return optimizer


class RunTrainer:
    """The trainer as the callbacks of run `index` see it: it has the metrics of that run, and setting `should_stop`
    ends only that run. Everything else is delegated to the trainer of the pack."""

    def __init__(self, trainer: L.Trainer, pack: Pack, index: int) -> None:
        self._trainer, self._pack, self._index = trainer, pack, index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    @property
    def global_step(self) -> int:
        return self._pack.stopped.get(self._index, self._trainer.global_step)

    @property
    def callback_metrics(self) -> dict[str, Tensor]:
        prefix = f"{self._index}/"
        own = {name: value for name, value in self._trainer.callback_metrics.items() if name.startswith(prefix)}
        return {name.removeprefix(prefix): value for name, value in own.items()}

    @property
    def optimizers(self) -> list[SimpleNamespace]:
        """The optimiser with only the parameter groups of this run."""
        own = {id(vectors) for vectors in self._pack.runs[self._index].embeddings.vectors}
        (whole,) = self._trainer.optimizers
        return [SimpleNamespace(param_groups=[g for g in whole.param_groups if id(g["params"][0]) in own])]

    @property
    def should_stop(self) -> bool:
        return self._index in self._pack.stopped

    @should_stop.setter
    def should_stop(self, value: bool) -> None:
        if value and not self.should_stop:
            self._pack.stopped[self._index] = self._trainer.global_step
            self._trainer.should_stop = len(self._pack.stopped) == len(self._pack.runs)


# Index of the run whose callback is active, so that its log records go to the log of that run; None: the whole pack.
speaking: ContextVar[int | None] = ContextVar("speaking", default=None)


class OfRun(L.Callback):
    """Wraps a callback of run `index`, so that it sees this run as if it was training alone."""

    def __init__(self, callback: L.Callback, index: int) -> None:
        self.callback, self.index = callback, index

    @property
    def state_key(self) -> str:
        return f"{self.index}/{self.callback.state_key}"

    def state_dict(self) -> dict[str, Any]:
        return self.callback.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.callback.load_state_dict(state_dict)

    def _call(self, hook: Callable[..., None], trainer: L.Trainer, pack: Pack, *step: Any) -> None:
        before = speaking.set(self.index)
        try:
            hook(RunTrainer(trainer, pack, self.index), pack.runs[self.index], *step)
        finally:
            speaking.reset(before)

    def setup(self, trainer: L.Trainer, pl_module: Pack, stage: str) -> None:
        self._call(self.callback.setup, trainer, pl_module, stage)

    def on_fit_start(self, trainer: L.Trainer, pl_module: Pack) -> None:
        self._call(self.callback.on_fit_start, trainer, pl_module)

    def on_train_start(self, trainer: L.Trainer, pl_module: Pack) -> None:
        self._call(self.callback.on_train_start, trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Pack, *step: Any) -> None:
        if self.index not in pl_module.stopped:
            self._call(self.callback.on_train_batch_end, trainer, pl_module, *step)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Pack) -> None:
        if self.index not in pl_module.stopped:
            self._call(self.callback.on_validation_end, trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: Pack) -> None:
        self._call(self.callback.on_train_end, trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: Pack) -> None:
        self._call(self.callback.on_fit_end, trainer, pl_module)


def saved_bytes(run: TextualInversion) -> int:
    """Return the bytes that the forward pass of one step of `run` saves for the backward pass."""
    storages: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in run.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    run.on_fit_start()
    batch = {name: value.to(run.device) for name, value in run.draw(0).items()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = run.losses(batch)
    del losses
    return sum(storages.values())
