"""Exponential moving average of the weights."""

from typing import Any

import pytorch_lightning as L
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMA(L.Callback):
    """Keeps an average of the trainable parameters: average += (1 - decay_n) * (weight - average) after optimiser step
    n, decay_n = min(decay, (1 + n) / (10 + n)). Validation and exports use the average; training does not.

    The average is saved in the checkpoint, so a resumed run continues it. Written by hand, since Lightning's
    EMAWeightAveraging copies the frozen networks as well, and its decay has no warm-up."""

    def __init__(self, decay: float = 0.9999) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self._training_weights: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.average:  # otherwise it was restored from a checkpoint
            self.average = {n: p.detach().clone() for n, p in pl_module.named_parameters() if p.requires_grad}
        self.average = {name: value.to(pl_module.device) for name, value in self.average.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        n = trainer.global_step
        decay = self.decay_at(n)
        weights = dict(pl_module.named_parameters())
        average = get_ema_multi_avg_fn(decay)
        average(list(self.average.values()), [weights[name] for name in self.average], n)

    def decay_at(self, n: int) -> float:
        """Return the decay of optimiser step n (counted from 1)."""
        return min(self.decay, (1 + n) / (10 + n))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.swap_in(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.swap_out(pl_module)

    @torch.no_grad()
    def swap_in(self, module: L.LightningModule) -> None:
        weights = dict(module.named_parameters())
        self._training_weights = {name: weights[name].clone() for name in self.average}
        for name, value in self.average.items():
            weights[name].copy_(value)

    @torch.no_grad()
    def swap_out(self, module: L.LightningModule) -> None:
        weights = dict(module.named_parameters())
        for name, value in self._training_weights.items():
            weights[name].copy_(value)
        self._training_weights = {}

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.average = state_dict["average"]
