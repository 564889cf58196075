"""Packs: runs of textual inversion that share the frozen model train in one batch, and each is left with what it would
have learned alone. Samples of a batch never mix, so a run's gradient is that of its own samples."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ldm.data import BatchStream, FixedBatches

from .learner import TextualInversion

Checkpoint = dict[str, Any]


class Pack(L.LightningModule):
    """Trains `runs`, which share one frozen model and take as many draws for their validation, as one."""

    def __init__(self, runs: Sequence[TextualInversion]) -> None:
        super().__init__()
        self.strict_loading = False  # the frozen model is not in the checkpoint
        self.ldm = runs[0].ldm
        if any(run.ldm is not self.ldm for run in runs):
            raise ValueError("the runs of a pack must share one frozen model: build it once and give it to each.")
        self.runs = cast(Sequence[TextualInversion], nn.ModuleList(runs))
        self._samples = [run.batch_size * len(run.concepts) for run in runs]

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        state = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if name.startswith("runs.") and ".embeddings." in name}

    def on_fit_start(self) -> None:
        for run in self.runs:
            run.on_fit_start()

    def draw(self, step: int) -> dict[str, Tensor]:
        """The runs' batches of optimiser step `step`, one after another."""
        batches = [run.draw(step) for run in self.runs]
        return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}

    def losses(self, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """eq. 2 for each concept of each run: [its concepts]."""
        ids = batch["ids"].split(self._samples)
        rows = torch.cat([run.embed(own) for run, own in zip(self.runs, ids, strict=True)])
        c = self.ldm.cond_stage_model.encode(rows)
        per_sample = self.ldm.losses(batch["z_0"], c, batch["t"], batch["eps"])
        return [run.per_concept(own) for run, own in zip(self.runs, per_sample.split(self._samples), strict=True)]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        losses = self.losses(batch)
        for i, (run, own) in enumerate(zip(self.runs, losses, strict=True)):
            run.require_finite(own, self.global_step)
            self.log(f"{i}/train/loss", own.detach().mean())
        everything = torch.cat(losses)
        self.log("train/loss", everything.detach().mean(), prog_bar=True)
        return everything.sum()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.global_step == 0:
            for run in self.runs:
                run.require_gradients()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        losses = self.losses(batch)
        for i, (run, own) in enumerate(zip(self.runs, losses, strict=True)):
            self.log_dict({f"{i}/{name}": value for name, value in run.validation_metrics(own).items()})
        self.log("val/loss", torch.cat(losses).mean(), prog_bar=True)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(BatchStream(self.draw, self.global_step), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        of_runs = zip(*(run.validation_batches() for run in self.runs), strict=True)
        batches = [{name: torch.cat([own[name] for own in together]) for name in together[0]} for together in of_runs]
        return DataLoader(FixedBatches(batches), batch_size=None)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([group for run in self.runs for group in run.parameter_groups()])


class RunTrainer:
    """What the callbacks of run number `index` see of the pack's trainer: its steps, and the metrics of that run."""

    sanity_checking = False

    def __init__(self, trainer: L.Trainer, index: int) -> None:
        self.is_global_zero, self.global_step, self.max_steps = (
            trainer.is_global_zero,
            trainer.global_step,
            trainer.max_steps,
        )
        prefix = f"{index}/"
        own = {name: value for name, value in trainer.callback_metrics.items() if name.startswith(prefix)}
        self.callback_metrics = {name.removeprefix(prefix): value for name, value in own.items()}


# Which run's callback is at work, so that what it says can go to that run's log; None: the whole pack's.
speaking: ContextVar[int | None] = ContextVar("speaking", default=None)


class OfRun(L.Callback):
    """A callback of run number `index`, which sees that run as if it trained alone."""

    def __init__(self, callback: L.Callback, index: int) -> None:
        self.callback, self.index = callback, index

    def _call(self, hook: Callable[..., None], trainer: L.Trainer, pack: Pack, *step: Any) -> None:
        before = speaking.set(self.index)
        try:
            hook(RunTrainer(trainer, self.index), pack.runs[self.index], *step)
        finally:
            speaking.reset(before)

    def on_fit_start(self, trainer: L.Trainer, pl_module: Pack) -> None:
        self._call(self.callback.on_fit_start, trainer, pl_module)

    def on_train_start(self, trainer: L.Trainer, pl_module: Pack) -> None:
        self._call(self.callback.on_train_start, trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Pack, *step: Any) -> None:
        self._call(self.callback.on_train_batch_end, trainer, pl_module, *step)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Pack) -> None:
        self._call(self.callback.on_validation_end, trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: Pack) -> None:
        self._call(self.callback.on_train_end, trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: Pack) -> None:
        self._call(self.callback.on_fit_end, trainer, pl_module)


def split_checkpoint(pack: Pack, checkpoint: Checkpoint) -> list[Checkpoint]:
    """A pack's checkpoint -> each run's, as the run would have written it alone."""
    (optimizer,) = checkpoint["optimizer_states"]
    parts, first = [], 0
    for i, run in enumerate(pack.runs):
        prefix, count = f"runs.{i}.", len(run.concepts)
        own = {n.removeprefix(prefix): v for n, v in checkpoint["state_dict"].items() if n.startswith(prefix)}
        groups = [group | {"params": [j]} for j, group in enumerate(optimizer["param_groups"][first : first + count])]
        state = {j: optimizer["state"][first + j] for j in range(count)}
        part = checkpoint | {
            "state_dict": own,
            "optimizer_states": [{"state": state, "param_groups": groups}],
            "callbacks": {},
        }
        run.on_save_checkpoint(part)
        parts.append(part)
        first += count
    return parts


def join_checkpoints(pack: Pack, parts: Sequence[Checkpoint]) -> Checkpoint:
    """The runs' checkpoints of one step -> the pack's. Raises ValueError if one is of another concept."""
    state_dict, state, groups = {}, {}, []
    for i, (run, part) in enumerate(zip(pack.runs, parts, strict=True)):
        run.on_load_checkpoint(part)
        (optimizer,) = part["optimizer_states"]
        state_dict |= {f"runs.{i}.{name}": value for name, value in part["state_dict"].items()}
        for j, group in enumerate(optimizer["param_groups"]):
            state[len(groups)] = optimizer["state"][j]
            groups.append(group | {"params": [len(groups)]})
    return dict(parts[0]) | {
        "state_dict": state_dict,
        "optimizer_states": [{"state": state, "param_groups": groups}],
        "callbacks": {},
    }


class PackCheckpoint(L.Callback):
    """Every `every` steps, last.ckpt of each run in its folder, from which it goes on alone or in a pack."""

    def __init__(self, folders: Sequence[Path], every: int) -> None:
        self.folders, self.every = list(folders), every

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Pack, *_: Any) -> None:
        if trainer.global_step % self.every:
            return
        whole = self.folders[0] / "pack.ckpt"
        trainer.save_checkpoint(whole)
        if trainer.is_global_zero:
            parts = split_checkpoint(pl_module, torch.load(whole, weights_only=False))
            for folder, part in zip(self.folders, parts, strict=True):
                partial = folder / "last.partial"
                torch.save(part, partial)
                partial.replace(folder / "last.ckpt")
            whole.unlink()


def saved_bytes(run: TextualInversion) -> int:
    """Memory that the backward pass of one step of `run` keeps from its forward pass."""
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
