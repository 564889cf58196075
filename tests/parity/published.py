"""Functions of the official code that this project does not use, for comparisons."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ldm.modules.clip_text import CLIPTextEncoder


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
    """What the official code makes of a picture: alpha dropped, not turned upright, and squashed to a square unless
    `centre_crop` is set. For comparisons; inversion here uses `to_rgb` and `centre_square`.

    The longer side is brought to size first: Pillow's own order depends on its version, and the pixels on the order."""
    image = image.convert("RGB")
    if centre_crop:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    half_done = (image.width, size) if image.height > image.width else (size, image.height)
    return image.resize(half_done, resample).resize((size, size), resample)
