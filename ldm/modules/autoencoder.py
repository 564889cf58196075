"""The first stage: a KL-regularised convolutional autoencoder between images and latents (Rombach et al. 2022, section
3.1). Parameter names and shapes are those of the published kl-f8 model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import UserError
from ..keyed_random import step_generator
from ..training.optimization import constant, with_schedule
from .layers import group_norm


@dataclass(frozen=True)
class DiagonalGaussian:
    """The posterior q(z|x) = N(mean, exp(logvar)); both [b, c, h, w]."""

    mean: Tensor
    logvar: Tensor

    @classmethod
    def from_moments(cls, moments: Tensor) -> "DiagonalGaussian":
        """Split moments [b, 2c, h, w] into mean and log variance, in float32. The log variance is clamped to [-30, 20],
        as in the published code."""
        mean, logvar = moments.float().chunk(2, dim=1)
        return cls(mean, logvar.clamp(-30.0, 20.0))

    @property
    def std(self) -> Tensor:
        return torch.exp(0.5 * self.logvar)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Return z = mean + std * eps [b, c, h, w] in float32. eps is drawn on the CPU, so it is the same on every
        device."""
        return self.at(torch.randn(self.mean.shape, generator=generator).to(self.mean.device))

    def at(self, eps: Tensor) -> Tensor:
        """Return z = mean + std * eps."""
        return self.mean + self.std * eps

    def kl(self) -> Tensor:
        """Return KL(q || N(0, 1)) per image [b], summed over the latent elements, in nats."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1.0 - self.logvar).sum(dim=(1, 2, 3))


class ResnetBlock(nn.Module):
    """GroupNorm, SiLU, convolution, twice, with a residual. The shortcut is a 1x1 convolution if the number of channels
    changes. [b, c, h, w]."""

    def __init__(self, in_channels: int, out_channels: int, groups: int = 32) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels, groups)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels, groups)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class AttnBlock(nn.Module):
    """Single-head self-attention over the h*w positions, with a residual. [b, c, h, w]."""

    def __init__(self, channels: int, groups: int = 32) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (rearrange(conv(h), "b c h w -> b (h w) c") for conv in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(rearrange(attended, "b (h w) c -> b c h w", h=x.shape[2]))


class Downsample(nn.Module):
    """Halve the side: pad with zeros on the right and at the bottom only, then apply a strided 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double the side: nearest-neighbour upsampling, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def _middle(channels: int, groups: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "block_1": ResnetBlock(channels, channels, groups),
            "attn_1": AttnBlock(channels, groups),
            "block_2": ResnetBlock(channels, channels, groups),
        }
    )


class _Level(nn.Module):
    """One resolution: residual blocks of the given widths (the input width first), each followed by attention if
    `attention` is True, then the down- or upsampling to the next resolution, if one is set."""

    def __init__(self, widths: Sequence[int], attention: bool, groups: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResnetBlock(i, o, groups) for i, o in pairwise(widths))
        self.attn = nn.ModuleList(AttnBlock(width, groups) for width in widths[1:] if attention)
        self.downsample: Downsample | None = None
        self.upsample: Upsample | None = None

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            x = block(x)
            if len(self.attn):
                x = self.attn[i](x)
        if self.downsample is not None:
            x = self.downsample(x)
        if self.upsample is not None:
            x = self.upsample(x)
        return x


class Encoder(nn.Module):
    """Images [b, in_channels, H, W] -> features [b, out_channels, H / f, W / f], f = 2 ** (levels - 1)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int,
        channel_mult: Sequence[int],
        num_res_blocks: int,
        attention_levels: Sequence[int],
        groups: int,
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.down = nn.ModuleList()
        width = channels
        for i, mult in enumerate(channel_mult):
            level = _Level([width] + [channels * mult] * num_res_blocks, i in attention_levels, groups)
            width = channels * mult
            if i < len(channel_mult) - 1:
                level.downsample = Downsample(width)
            self.down.append(level)
        self.mid = _middle(width, groups)
        self.norm_out = group_norm(width, groups)
        self.conv_out = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        h = self.mid["block_2"](self.mid["attn_1"](self.mid["block_1"](h)))
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """Latents [b, in_channels, h, w] -> images [b, out_channels, h * f, w * f]. Each level has one residual block more
    than in the encoder. Level 0 is the finest, as in the checkpoint."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int,
        channel_mult: Sequence[int],
        num_res_blocks: int,
        attention_levels: Sequence[int],
        groups: int,
    ) -> None:
        super().__init__()
        width = channels * channel_mult[-1]
        self.conv_in = nn.Conv2d(in_channels, width, 3, padding=1)
        self.mid = _middle(width, groups)
        levels = []
        for i, mult in reversed(list(enumerate(channel_mult))):
            level = _Level([width] + [channels * mult] * (num_res_blocks + 1), i in attention_levels, groups)
            width = channels * mult
            if i > 0:
                level.upsample = Upsample(width)
            levels.insert(0, level)
        self.up = nn.ModuleList(levels)
        self.norm_out = group_norm(width, groups)
        self.conv_out = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.conv_in(z)
        h = self.mid["block_2"](self.mid["attn_1"](self.mid["block_1"](h)))
        for level in reversed(self.up):
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class AutoencoderKL(L.LightningModule):
    """Images x [b, 3, H, W] in [-1, 1] <-> latents z [b, embed_dim, H / f, W / f]; f = 2 ** (len(channel_mult) - 1).

    `groups` is the number of groups of every GroupNorm. `loss`, `optimizer` and `schedule` are for training only; a
    model that is built without them has the published parameter names. With `fixed_latents`, only the decoder is
    trained."""

    def __init__(
        self,
        channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 4, 4),
        num_res_blocks: int = 2,
        attention_levels: Sequence[int] = (),
        z_channels: int = 4,
        embed_dim: int = 4,
        groups: int = 32,
        loss: nn.Module | None = None,
        fixed_latents: bool = False,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        schedule: Callable[[int], float] = constant,
        seed: int = 0,
    ) -> None:
        super().__init__()
        body = (channels, channel_mult, num_res_blocks, attention_levels, groups)
        self.encoder = Encoder(3, 2 * z_channels, *body)
        self.decoder = Decoder(z_channels, 3, *body)
        self.quant_conv = nn.Conv2d(2 * z_channels, 2 * embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, z_channels, 1)
        self.embed_dim = embed_dim
        self.downsampling = 2 ** (len(channel_mult) - 1)
        self.width = channels * max(channel_mult[:2])  # of the widest features as large as the image
        if loss is not None:
            self.loss = loss
        if fixed_latents:
            self.encoder.requires_grad_(False)
            self.quant_conv.requires_grad_(False)
        self.optimizer, self.schedule, self.seed = optimizer, schedule, seed

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """Encode x [b, 3, H, W] in [-1, 1] to the posterior over z. Raise UserError unless H and W are multiples of
        `downsampling`."""
        require_multiples(x, self.downsampling)
        return DiagonalGaussian.from_moments(self.quant_conv(self.encoder(x)))

    def decode(self, z: Tensor) -> Tensor:
        """Decode z [b, embed_dim, h, w] to x [b, 3, H, W], about [-1, 1], not clipped."""
        return self.decoder(self.post_quant_conv(z))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        x = batch["image"].contiguous(memory_format=torch.channels_last)  # faster, also on CPUs
        posterior = self.encode(x)
        z = posterior.sample(step_generator(self.seed, self.global_step, self.global_rank))
        losses = self.loss(x, self.decode(z).float(), posterior)
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, prog_bar=True)
        return losses["loss"]

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the PSNR of the reconstruction from the posterior mean, and the standard deviation of the latents."""
        z = self.encode(batch["image"]).mean
        metrics = {"val/psnr": psnr(self.decode(z), batch["image"]).mean(), "val/latent_std": z.std()}
        self.log_dict(metrics, prog_bar=True, batch_size=len(z))

    def configure_optimizers(self) -> Any:
        return with_schedule(self.optimizer(self.parameters()), self.schedule)


def require_multiples(x: Tensor, downsampling: int) -> None:
    """Raise UserError unless both sides of images x [b, 3, H, W] are multiples of `downsampling`."""
    if x.shape[-1] % downsampling or x.shape[-2] % downsampling:
        raise UserError(f"image of {tuple(x.shape[-2:])} pixels: both sides must be multiples of {downsampling}")


def psnr(reconstruction: Tensor, x: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio [b] in dB of images [b, 3, H, W] in [-1, 1]. The reconstruction is clipped
    to that range."""
    mse = (reconstruction.float().clamp(-1.0, 1.0) - x).square().mean(dim=(1, 2, 3))
    return 10.0 * torch.log10(4.0 / mse)
