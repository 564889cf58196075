"""Small layers shared by the autoencoder and the UNet (Rombach et al. 2022, appendix E)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def group_norm(channels: int, groups: int = 32, eps: float = 1e-6) -> nn.GroupNorm:
    """GroupNorm, 32 groups in the published models. Narrow models want fewer: a group of one channel forgets how bright
    its picture was."""
    return nn.GroupNorm(groups, channels, eps=eps)


def zero_init(module: nn.Module) -> nn.Module:
    """Start `module` at zero, so that a residual branch begins as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def nonzero_init(module: nn.Module) -> nn.Module:
    """Draw what starts at zero in `module`, so that before any training its output depends on all of its input."""
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return module


def timestep_embedding(t: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Sinusoidal embedding of timesteps: t [b] -> [b, dim], the cosines first, then the sines (float32)."""
    half = dim // 2
    # In this order, in which the published model was trained: its last digits matter at t near 1000.
    exponents = -math.log(max_period) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    frequencies = torch.exp(exponents)
    angles = t.float()[:, None] * frequencies
    embedding = torch.cat([angles.cos(), angles.sin()], dim=-1)
    return F.pad(embedding, (0, dim % 2))


class GEGLU(nn.Module):
    """Gated feed-forward input: value * gelu(gate), with the exact GELU. [.., dim] -> [.., inner]."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, inner * 2)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)
