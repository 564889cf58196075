"""Learning-rate schedules as functions of the optimiser step, and their place in a Lightning module."""

import math
from collections.abc import Callable, Sequence
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


def published_cycle(step: int, lengths: Sequence[int]) -> tuple[int, int]:
    """Which of consecutive cycles of such lengths holds `step`, and how far into it that is. As in the published code
    the last step of a cycle is the length itself, so the next one begins at 1."""
    start = 0
    for cycle, length in enumerate(lengths):
        if step <= start + length:
            return cycle, step - start
        start += length
    raise ValueError(f"step {step} lies beyond the cycles, which end at {start}")


def published_linear(
    step: int, warmup: Sequence[int], lengths: Sequence[int], start: Sequence[float], peak: Sequence[float],
    end: Sequence[float],
) -> float:  # fmt: skip
    """LambdaLinearScheduler of the published code: in each cycle linear from `start` to `peak`, then on a line that
    falls from `peak` at the cycle's first step (not at the end of the warm-up, so it jumps) to `end` at its last."""
    cycle, n = published_cycle(step, lengths)
    if n < warmup[cycle]:
        return start[cycle] + (peak[cycle] - start[cycle]) * n / warmup[cycle]
    return end[cycle] + (peak[cycle] - end[cycle]) * (lengths[cycle] - n) / lengths[cycle]


def published_cosine(
    step: int, warmup: Sequence[int], lengths: Sequence[int], start: Sequence[float], peak: Sequence[float],
    end: Sequence[float],
) -> float:  # fmt: skip
    """LambdaWarmUpCosineScheduler of the published code: in each cycle linear from `start` to `peak`, then half a
    cosine to `end`."""
    cycle, n = published_cycle(step, lengths)
    if n < warmup[cycle]:
        return start[cycle] + (peak[cycle] - start[cycle]) * n / warmup[cycle]
    progress = (n - warmup[cycle]) / (lengths[cycle] - warmup[cycle])
    return end[cycle] + 0.5 * (peak[cycle] - end[cycle]) * (1.0 + math.cos(math.pi * progress))


def with_schedule(optimizer: torch.optim.Optimizer, schedule: Callable[[int], float]) -> Any:
    """What `configure_optimizers` returns: the optimiser, its learning rate multiplied by `schedule(step)` every
    step."""
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
