"""The denoiser eps_theta(z_t, t, c): a UNet with cross-attention to the text (Rombach et al. 2022, section 3.2).
Names and shapes of the parameters are those of the published text-to-image model."""

from collections.abc import Sequence

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import SpatialTransformer
from .layers import group_norm, timestep_embedding, zero_init


class ResBlock(nn.Module):
    """Two convolutions around the addition of the time embedding, with a residual. x [b, c, h, w], emb [b, e]."""

    def __init__(self, in_channels: int, out_channels: int, embed_dim: int, groups: int = 32) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            group_norm(in_channels, groups, eps=1e-5), nn.SiLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embed_dim, out_channels))
        self.out_layers = nn.Sequential(
            group_norm(out_channels, groups, eps=1e-5),
            nn.SiLU(),
            nn.Identity(),  # the place of the published model's dropout
            zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        same = in_channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


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
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Stage(nn.ModuleList):
    """Layers run one after another, each given what it takes: features, and time embedding or text."""

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, emb)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            else:
                x = layer(x)
        return x


class UNet(L.LightningModule):
    """z_t [b, in_channels, h, w], t [b] in 0..999, text c [b, m, context_dim] -> eps [b, out_channels, h, w].

    `sample_size` is the side of the latents that the model was trained on; it takes others, too. `attention_levels` are
    the levels (0 is the finest) that have transformers; the middle always has one. `num_heads` heads share a level's
    channels; `groups` is that of every GroupNorm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        model_channels: int,
        channel_mult: Sequence[int],
        num_res_blocks: int,
        attention_levels: Sequence[int],
        num_heads: int,
        context_dim: int,
        transformer_depth: int = 1,
        sample_size: int = 32,
        groups: int = 32,
    ) -> None:
        super().__init__()
        self.in_channels, self.model_channels, self.sample_size = in_channels, model_channels, sample_size
        embed_dim = 4 * model_channels

        def transformer(width: int) -> SpatialTransformer:
            return SpatialTransformer(width, num_heads, width // num_heads, transformer_depth, context_dim, groups)

        def res_block(in_width: int, width: int) -> ResBlock:
            return ResBlock(in_width, width, embed_dim, groups)

        def stage(in_width: int, width: int, level: int) -> Stage:
            layers: list[nn.Module] = [res_block(in_width, width)]
            return Stage(layers + ([transformer(width)] if level in attention_levels else []))

        self.time_embed = nn.Sequential(
            nn.Linear(model_channels, embed_dim), nn.SiLU(), nn.Linear(embed_dim, embed_dim)
        )
        width = model_channels
        self.input_blocks = nn.ModuleList([Stage([nn.Conv2d(in_channels, width, 3, padding=1)])])
        skips = [width]
        last = len(channel_mult) - 1
        for level, mult in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                self.input_blocks.append(stage(width, model_channels * mult, level))
                width = model_channels * mult
                skips.append(width)
            if level < last:
                self.input_blocks.append(Stage([Downsample(width)]))
                skips.append(width)

        self.middle_block = Stage([res_block(width, width), transformer(width), res_block(width, width)])

        self.output_blocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(channel_mult))):
            for i in range(num_res_blocks + 1):
                block = stage(width + skips.pop(), model_channels * mult, level)
                width = model_channels * mult
                if level > 0 and i == num_res_blocks:
                    block.append(Upsample(width))
                self.output_blocks.append(block)

        self.out = nn.Sequential(
            group_norm(width, groups, eps=1e-5), nn.SiLU(), zero_init(nn.Conv2d(width, out_channels, 3, padding=1))
        )

    def forward(self, z_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
        emb = self.time_embed(timestep_embedding(t, self.model_channels).to(z_t.dtype))
        h, skips = z_t, []
        for block in self.input_blocks:
            h = block(h, emb, c)
            skips.append(h)
        h = self.middle_block(h, emb, c)
        for block in self.output_blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), emb, c)
        return self.out(h)
