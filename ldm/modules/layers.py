"""Small layers that the autoencoder and the UNet share (Rombach et al. 2022, appendix E)."""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm that computes groups of few channels in float32 if x is in bfloat16 on a CPU, where PyTorch's own
    kernel is 4 times as slow. Both round the same result."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.dtype == torch.bfloat16 and self.num_channels < 16 * self.num_groups:
            weight, bias = self.weight.float(), self.bias.float()
            return F.group_norm(x.float(), self.num_groups, weight, bias, self.eps).to(x.dtype)
        return super().forward(x)


def group_norm(channels: int, groups: int = 32, eps: float = 1e-6) -> GroupNorm:
    """Return a GroupNorm; the published models have 32 groups. Narrow models need fewer: a group of a single channel
    loses the brightness of the image."""
    return GroupNorm(groups, channels, eps=eps)


def zero_init(module: Network) -> Network:
    """Set all parameters of `module` to zero in place, so that a residual branch starts as the identity. Returns
    `module`."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def nonzero_init(module: Network) -> Network:
    """Fill the zero-initialised parameters of `module` with random values in place, so that an untrained module depends
    on all of its inputs. Returns `module`."""
    for parameter in module.parameters():
        if not parameter.is_meta and not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return module


def timestep_embedding(t: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Return the sinusoidal embedding of timesteps t [b]: float32 [b, dim], cosines first, then sines."""
    half = dim // 2
    # The order of operations is that of the published code: near t = 1000, rounding errors matter.
    exponents = -math.log(max_period) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    frequencies = torch.exp(exponents)
    angles = t.float()[:, None] * frequencies
    embedding = torch.cat([angles.cos(), angles.sin()], dim=-1)
    return F.pad(embedding, (0, dim % 2))


class GEGLU(nn.Module):
    """Gated linear unit: value * gelu(gate), with the exact GELU. [.., dim] -> [.., inner]."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, inner * 2)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)
