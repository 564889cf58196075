"""Learning-rate schedules as functions of the optimiser step."""

import math
from collections.abc import Callable
from typing import Any

import torch


def constant(step: int) -> float:
    return 1.0


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Return the multiplier of the learning rate: linear to 1 over `warmup` steps, then half a cosine to 0 at step
    `total`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def warmup_stable_decay(step: int, warmup: int, total: int, decay: int) -> float:
    """Return the multiplier of the learning rate: linear to 1 over `warmup` steps, 1, then linear to 0 over the last
    `decay` of `total` steps, or over all of them if there are fewer (Hu et al. 2024). A longer training can go on from
    any step before the decay."""
    return max(0.0, min(1.0, (step + 1) / max(1, warmup), (total - step) / min(decay, total)))


def with_schedule(optimizer: torch.optim.Optimizer, schedule: Callable[[int], float]) -> Any:
    """Return the value of `configure_optimizers`: the optimiser, and a scheduler that multiplies its learning rate by
    `schedule(step)` in every step."""
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
