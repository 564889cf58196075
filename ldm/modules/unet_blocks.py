"""What the levels of the UNet are made of: residual blocks that know the time, and ways between resolutions."""

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import group_norm, zero_init


class ResBlock(nn.Module):
    """Two convolutions around the time embedding, with a residual. x [b, c, h, w], emb [b, e].

    The embedding is added between them; with `scale_shift` it scales and shifts the second normalisation instead.
    `resample` goes to another resolution on the way, after the first normalisation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embed_dim: int,
        groups: int = 32,
        scale_shift: bool = False,
        resample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.resample = nn.Identity() if resample is None else resample
        self.in_layers = nn.Sequential(
            group_norm(in_channels, groups, eps=1e-5), nn.SiLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embed_dim, out_channels * (2 if scale_shift else 1)))
        self.out_layers = nn.Sequential(
            group_norm(out_channels, groups, eps=1e-5),
            nn.SiLU(),
            nn.Identity(),  # the place of the published model's dropout
            zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        same = in_channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        norm, silu, conv = self.in_layers
        h = conv(self.resample(silu(norm(x))))
        e = self.emb_layers(emb)[:, :, None, None]
        if self.scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = self.out_layers[1:](self.out_layers[0](h) * (1.0 + scale) + shift)
        else:
            h = self.out_layers(h + e)
        return self.skip_connection(self.resample(x)) + h


class Downsample(nn.Module):
    """Halve the side with a strided 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Double the side: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(nearest(x))


class Average(nn.Module):
    """Halve the side: the mean of 2x2 places."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)


class Nearest(nn.Module):
    """Double the side: every place four times."""

    def forward(self, x: Tensor) -> Tensor:
        return nearest(x)


def nearest(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
