"""Learning-rate schedules as functions of the optimiser step, and their place in a Lightning module."""

import math
from collections.abc import Callable
from typing import Any

import torch


def constant(step: int) -> float:
    return 1.0


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Multiplier of the learning rate: linear to 1 over `warmup` steps, then half a cosine to 0 at step `total`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def with_schedule(optimizer: torch.optim.Optimizer, schedule: Callable[[int], float]) -> Any:
    """What `configure_optimizers` returns: the optimiser, its learning rate multiplied by `schedule(step)` every
    step."""
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
