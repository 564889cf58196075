"""Functions of the official code that this project does not use, for comparisons."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor, nn

from ldm.modules.autoencoder import DiagonalGaussian
from ldm.modules.clip_text import CLIPTextEncoder
from ldm.modules.unet import UNet
from ldm.modules.unet_blocks import Average, Downsample, Nearest, Upsample


def heads_first(qkv: nn.Conv1d, heads: int) -> None:
    """Reorder in place the outputs of a projection that the official code splits into q, k and v first ("new attention
    order"), so that it fits AttentionBlock, which splits them by head first. No published weights need it."""
    for parameter in (qkv.weight, qkv.bias):
        assert parameter is not None
        parameter.data = rearrange(parameter.data, "(three heads d) ... -> (heads three d) ...", three=3, heads=heads)


class ClassConditionalUNet(UNet):
    """The official UNet with `num_classes` and without `conv_resample`, which no published model has: the embedding of
    a class y [b] is added to the time embedding, and resolutions change without parameters."""

    def __init__(self, num_classes: int, model_channels: int, **sizes: Any) -> None:
        super().__init__(model_channels=model_channels, **sizes)
        self.label_emb = nn.Embedding(num_classes, 4 * model_channels)
        for stage in (*self.input_blocks, *self.output_blocks):
            for i, layer in enumerate(stage):
                if isinstance(layer, Downsample | Upsample):
                    stage[i] = Average() if isinstance(layer, Downsample) else Nearest()

    def forward(self, z_t: Tensor, t: Tensor, c: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        add = self.time_embed.register_forward_hook(lambda module, inputs, emb: emb + self.label_emb(y))
        try:
            return super().forward(z_t, t, c)
        finally:
            add.remove()


def nll(posterior: DiagonalGaussian, z: Tensor) -> Tensor:
    """Return -log q(z) per image [b], in nats."""
    scaled = (z - posterior.mean).square() / posterior.logvar.exp()
    return 0.5 * (math.log(2.0 * math.pi) + posterior.logvar + scaled).sum(dim=(1, 2, 3))


def interpolate_variance(buffers: dict[str, Tensor], v_posterior: float) -> dict[str, Tensor]:
    """Return the tables of a schedule with the variance of ancestral steps between its lower bound (`v_posterior` 0)
    and its upper bound, beta_t (1)."""
    variance = (1.0 - v_posterior) * buffers["posterior_variance"] + v_posterior * buffers["betas"]
    clipped = variance.clamp(min=1e-20).log()
    return buffers | {"posterior_variance": variance, "posterior_log_variance_clipped": clipped}


def expansion(ids: Tensor, own_ids: Mapping[int, Sequence[int]]) -> Tensor:
    """Rows of ids [b, n], in which each placeholder is one token of the vocabulary, as the official code expands them:
    the token gives way to `own_ids` of it, what follows moves right, and what passes the end is lost, [SEP] too."""
    rows = [[i for token in row for i in own_ids.get(token, (token,))][: ids.shape[1]] for row in ids.tolist()]
    return torch.tensor(rows)


def clip_start(text: CLIPTextEncoder, vectors: Tensor) -> Tensor:
    """Initial vectors [k, width] as the official code takes them where CLIP reads the text: with the embedding of the
    first position, which the encoder adds again."""
    return vectors + text.positions(1)


def coarse_loss(vectors: Sequence[Tensor], start: Sequence[Tensor]) -> Tensor:
    """The official penalty: of each placeholder's vectors [k, d] and their start all k * k products of the differences,
    averaged over the placeholders: [k, k]; its mean joins the loss."""
    differences = [v - s for v, s in zip(vectors, start, strict=True)]
    return torch.stack([d @ d.T for d in differences]).mean(dim=0)


def linear_betas(steps: int, start: float, end: float) -> np.ndarray:
    """Return beta_t, evenly spaced: float64 [steps]. The published code calls this schedule "sqrt_linear", and its
    square root "sqrt"."""
    return np.linspace(start, end, steps, dtype=np.float64)


def cosine_betas(steps: int, offset: float = 0.008) -> np.ndarray:
    """Return beta_t such that alpha_bar_t falls as a squared cosine (Nichol & Dhariwal 2021, eq. 17); beta_t <= 0.999.
    float64 [steps]."""
    alpha_bar = np.cos((np.arange(steps + 1) / steps + offset) / (1.0 + offset) * np.pi / 2.0) ** 2
    return np.clip(1.0 - alpha_bar[1:] / alpha_bar[:-1], 0.0, 0.999)


def elbo_weights(buffers: dict[str, Tensor]) -> Tensor:
    """Return the weight of the eps-loss at t in the variational bound (Ho et al. 2020, eq. 12), [steps]. At t = 0 the
    weight is infinite; it is replaced by the weight at t = 1."""
    betas, variance = buffers["betas"], buffers["posterior_variance"]
    weights = betas.square() / (2.0 * variance * (1.0 - betas) * (1.0 - buffers["alphas_cumprod"]))
    return torch.cat([weights[1:2], weights[1:]])


def cycle_of(step: int, lengths: Sequence[int]) -> tuple[int, int]:
    """Return the index of the cycle that contains `step`, and the step within that cycle, for consecutive cycles of the
    given lengths. As in the published code, the last step of a cycle is its length, so the next cycle starts at 1."""
    start = 0
    for cycle, length in enumerate(lengths):
        if step <= start + length:
            return cycle, step - start
        start += length
    raise ValueError(f"step {step} is past the last cycle, which ends at step {start}")


def linear_schedule(
    step: int, warmup: Sequence[int], lengths: Sequence[int], start: Sequence[float], peak: Sequence[float],
    end: Sequence[float],
) -> float:  # fmt: skip
    """LambdaLinearScheduler of the published code. Each cycle is linear from `start` to `peak` during the warm-up, then
    follows a line from `peak` at the first step of the cycle to `end` at its last step. The multiplier therefore jumps
    at the end of the warm-up."""
    cycle, n = cycle_of(step, lengths)
    if n < warmup[cycle]:
        return start[cycle] + (peak[cycle] - start[cycle]) * n / warmup[cycle]
    return end[cycle] + (peak[cycle] - end[cycle]) * (lengths[cycle] - n) / lengths[cycle]


def cosine_schedule(
    step: int, warmup: Sequence[int], lengths: Sequence[int], start: Sequence[float], peak: Sequence[float],
    end: Sequence[float],
) -> float:  # fmt: skip
    """LambdaWarmUpCosineScheduler of the published code. Each cycle is linear from `start` to `peak` during the
    warm-up, then half a cosine to `end`."""
    cycle, n = cycle_of(step, lengths)
    if n < warmup[cycle]:
        return start[cycle] + (peak[cycle] - start[cycle]) * n / warmup[cycle]
    progress = (n - warmup[cycle]) / (lengths[cycle] - warmup[cycle])
    return end[cycle] + 0.5 * (peak[cycle] - end[cycle]) * (1.0 + math.cos(math.pi * progress))


def square(
    image: Image.Image, size: int, centre_crop: bool = False, resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Preprocess an image as the official code does: drop alpha, ignore the EXIF orientation, and squash it unless
    `centre_crop` is set. For comparisons; inversion here uses `read_square`.

    The longer side is resized first: Pillow's own order depends on its version, and changes the pixels."""
    image = image.convert("RGB")
    if centre_crop:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    half_done = (image.width, size) if image.height > image.width else (size, image.height)
    return image.resize(half_done, resample).resize((size, size), resample)
