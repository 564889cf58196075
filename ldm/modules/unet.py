"""The denoiser eps_theta(z_t, t, c): a UNet with cross-attention to the condition (Rombach et al. 2022, section 3.2).
Parameter names and shapes are those of the published models."""

from collections.abc import Sequence
from typing import cast

import pytorch_lightning as L
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import UserError
from .attention import AttentionBlock, KeysAndValues, SpatialTransformer
from .layers import group_norm, timestep_embedding, zero_init
from .unet_blocks import Average, Downsample, Nearest, ResBlock, Upsample


class Stage(nn.ModuleList):
    """Layers in sequence. Residual blocks also get the time embedding, and transformers the condition."""

    def forward(
        self, x: Tensor, emb: Tensor, context: Tensor | list[KeysAndValues] | None, skip: Tensor | None = None
    ) -> Tensor:
        """Apply the layers to x [b, c, h, w], or to x and `skip` side by side [b, c + ..., h, w]."""
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, emb)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            else:
                x = layer(x)
        return x


class UNet(L.LightningModule):
    """z_t [b, in_channels, h, w], t [b] in 0..999, c [b, m, context_dim] -> eps [b, out_channels, h, w].

    c may also be [b, layers, m, context_dim], with one text for each of the `cross_attention_layers`, in the order in
    which they are computed (Voynov et al. 2023, "P+"). Raises UserError for another number of layers.

    `sample_size` is the side of the latents in training; other sides also work. `attention_levels` are the levels (0 is
    the finest) with attention; the middle block always has it. Each attention layer has `num_heads` heads, or as many
    heads of `head_channels` channels as fit its width. `groups` is the number of groups of every GroupNorm.

    Without `context_dim` the UNet takes no c, and its attention layers are AttentionBlocks. For `scale_shift` see
    ResBlock. Resolutions change by residual blocks if `resblock_updown` is True, else by convolutions.

    With `checkpointing`, which may be set at any time, the backward pass computes the inside of each stage again and
    does not keep it. Gradients are the same to the bit. With frozen weights a step takes about half as long again."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        model_channels: int,
        channel_mult: Sequence[int],
        num_res_blocks: int,
        attention_levels: Sequence[int],
        num_heads: int | None = None,
        head_channels: int | None = None,
        context_dim: int | None = None,
        scale_shift: bool = False,
        resblock_updown: bool = False,
        sample_size: int = 32,
        groups: int = 32,
    ) -> None:
        super().__init__()
        if (num_heads is None) == (head_channels is None):
            raise UserError(f"pass either num_heads or head_channels, not {num_heads} and {head_channels}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.model_channels, self.sample_size = model_channels, sample_size
        self.checkpointing = False
        embed_dim = 4 * model_channels

        def attention(width: int) -> nn.Module:
            heads = num_heads or width // cast(int, head_channels)
            if context_dim is None:
                return AttentionBlock(width, heads, groups=groups)
            return SpatialTransformer(width, heads, width // heads, context_dim, groups)

        def res_block(in_width: int, width: int, resample: nn.Module | None = None) -> ResBlock:
            return ResBlock(in_width, width, embed_dim, groups, scale_shift, resample)

        def stage(in_width: int, width: int, level: int) -> Stage:
            layers: list[nn.Module] = [res_block(in_width, width)]
            return Stage(layers + ([attention(width)] if level in attention_levels else []))

        def down(width: int) -> nn.Module:
            return res_block(width, width, Average()) if resblock_updown else Downsample(width)

        def up(width: int) -> nn.Module:
            return res_block(width, width, Nearest()) if resblock_updown else Upsample(width)

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
                self.input_blocks.append(Stage([down(width)]))
                skips.append(width)

        self.middle_block = Stage([res_block(width, width), attention(width), res_block(width, width)])

        self.output_blocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(channel_mult))):
            for i in range(num_res_blocks + 1):
                block = stage(width + skips.pop(), model_channels * mult, level)
                width = model_channels * mult
                if level > 0 and i == num_res_blocks:
                    block.append(up(width))
                self.output_blocks.append(block)

        self.out = nn.Sequential(
            group_norm(width, groups, eps=1e-5), nn.SiLU(), zero_init(nn.Conv2d(width, out_channels, 3, padding=1))
        )
        transformers = [module for module in self.modules() if isinstance(module, SpatialTransformer)]
        for layer, transformer in enumerate(transformers):  # modules() follows the order of computation
            transformer.layer = layer
        self.cross_attention_layers = len(transformers)

    def project(self, c: Tensor) -> list[KeysAndValues]:
        """Return the keys and values of c for each cross-attention layer. `forward` takes them in place of c, so that a
        sampler computes them once for all steps."""
        self._require_layers(c)
        return [module.project(c) for module in self.modules() if isinstance(module, SpatialTransformer)]

    def _require_layers(self, c: Tensor) -> None:
        layers = self.cross_attention_layers
        if c.ndim == 4 and c.shape[1] != layers:
            raise UserError(f"c has texts for {c.shape[1]} layers, but {layers} layers of the UNet read one.")

    def forward(self, z_t: Tensor, t: Tensor, c: Tensor | list[KeysAndValues] | None = None) -> Tensor:
        if isinstance(c, Tensor):
            self._require_layers(c)
        emb = self.time_embed(timestep_embedding(t, self.model_channels).to(z_t.dtype))
        h, skips = z_t, []
        for block in self.input_blocks:
            h = self._run(block, h, emb, c)
            skips.append(h)
        h = self._run(self.middle_block, h, emb, c)
        for block in self.output_blocks:
            h = self._run(block, h, emb, c, skips.pop())
        return self.out(h)

    def _run(self, block: nn.Module, *inputs: Tensor | list[KeysAndValues] | None) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            # No layer is random, so no state of a generator has to be kept. A CUDA graph could not record that.
            return cast(Tensor, checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False))
        return block(*inputs)
