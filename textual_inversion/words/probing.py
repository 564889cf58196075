"""Probe a learned word: which words of the vocabulary are near it, how long its vectors are, which part of an image
attends to it, and what lies between it and another word (Gal et al. 2022, sections 5.2 and 6; Hertz et al. 2023 for
the maps of cross-attention)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ldm.conditioning import TextEncoder
from ldm.errors import UserError
from ldm.latent_diffusion import LatentDiffusion
from ldm.modules.attention import Attention
from ldm.sampling import Sampler, guided

from ..embedding_manager import EmbeddingManager
from ..prompts import encode_prompts


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The whole words of a text encoder, without pieces, signs and single letters, and their embeddings [n, width],
    float32 on the device of the text encoder."""

    words: list[str]
    embeddings: Tensor

    @classmethod
    def of(cls, text: TextEncoder) -> "Vocabulary":
        table = text.embed(torch.arange(text.vocab_size, device=text.device)).detach().float()
        names = [text.tokenizer.word(i) for i in range(text.vocab_size)]
        whole = [i for i, name in enumerate(names) if name.isalpha() and len(name) > 1]
        return cls([names[i] for i in whole], table[whole])

    def nearest(self, vector: Tensor, count: int) -> list[tuple[str, float]]:
        """Return the `count` words with the largest cosine similarity to `vector` [width], each with it."""
        cosine = F.cosine_similarity(self.embeddings, vector.detach()[None].to(self.embeddings))
        order = cosine.argsort(descending=True)[:count].tolist()
        return [(self.words[i], float(cosine[i])) for i in order]

    def norm_quantile(self, vector: Tensor) -> float:
        """Return the share of the words whose embedding is shorter than `vector` [width]."""
        return float((self.embeddings.norm(dim=1) < vector.norm().to(self.embeddings)).float().mean())


def between(start: Tensor, end: Tensor, steps: int) -> list[Tensor]:
    """Return the vectors of `steps` words on the line from the word `start` to `end`, including both ends. Raises
    UserError if they have different numbers of vectors."""
    if start.shape != end.shape:
        raise UserError(
            f"the words have {len(start)} and {len(end)} vectors: there is no line between words of different length."
        )
    return [torch.lerp(start, end, share) for share in torch.linspace(0.0, 1.0, steps).tolist()]


def without_vector(vectors: Tensor, index: int) -> Tensor:
    """Return the k vectors of a word without number `index`."""
    return torch.cat([vectors[:index], vectors[index + 1 :]])


@dataclass(frozen=True, eq=False)
class Attended:
    """What `watch_attention` has seen in one sampling step at the timestep `t`: the `image` that the denoiser predicts
    [3, H, W] in [-1, 1], and for each token the share of attention that it gets at every position, `maps` [m, h, w],
    averaged over heads and layers. The maps of all tokens sum to 1 at every position."""

    t: int
    image: Tensor
    maps: Tensor


@torch.no_grad()
def watch_attention(
    ldm: LatentDiffusion,
    embeddings: EmbeddingManager,
    prompt: str,
    *,
    sampler: Sampler,
    guidance: float,
    seed: int,
    shown: int,
) -> list[Attended]:
    """Generate one image of `prompt`, and return what it attends to in `shown` steps, evenly spaced from the first to
    the last. Raises UserError if the model has no cross-attention."""
    c = encode_prompts(ldm.text_encoder, [prompt], embeddings)
    uncond = ldm.cond_stage_model([ldm.cond_stage_model.unconditional])
    times = sorted(sampler.timesteps(len(ldm.alpha_bar)), reverse=True)
    chosen = {times[round(i)] for i in torch.linspace(0, len(times) - 1, min(shown, len(times))).tolist()}
    found: dict[int, Attended] = {}
    with _recorded(ldm) as maps:
        denoise = guided(ldm.eps, c, uncond, guidance)

        def watched(z_t: Tensor, t: Tensor) -> Tensor:
            maps.clear()
            eps, time = denoise(z_t, t), int(t[0])
            if time in chosen and time not in found:
                alpha_bar = ldm.alpha_bar[time]
                z_0 = (z_t - (1.0 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()
                found[time] = Attended(time, ldm.decode_first_stage(z_0)[0].clamp(-1.0, 1.0).cpu(), _mean(maps))
            return eps

        noise = partial(ldm.noise, seed, [0])
        sampler(watched, noise(), ldm.alpha_bar, noise)
    return [found[time] for time in sorted(found, reverse=True)]


@contextmanager
def _recorded(ldm: LatentDiffusion) -> Iterator[list[Tensor]]:
    """Collect the weights of all cross-attention layers during the block, [m, h, w] each, for the last sample of a
    batch: the one with the prompt."""
    maps: list[Tensor] = []

    def record(layer: Attention, inputs: tuple[Tensor, Tensor], _: Tensor) -> None:
        x, c = (each[-1:] for each in inputs)
        q, k = (rearrange(y, "1 n (h d) -> h n d", h=layer.heads) for y in (layer.to_q(x), layer.to_k(c)))
        weights = (q.float() @ k.float().transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1).mean(dim=0)
        maps.append(rearrange(weights, "(h w) m -> m h w", h=round(len(weights) ** 0.5)).cpu())

    layers = [m for name, m in ldm.unet.named_modules() if name.endswith("attn2") and isinstance(m, Attention)]
    if not layers:
        raise UserError("the model has no cross-attention: it does not read texts.")
    hooks = [layer.register_forward_hook(record) for layer in layers]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


def _mean(maps: Sequence[Tensor]) -> Tensor:
    """Average maps of different sizes at the largest of them."""
    side = max(each.shape[-1] for each in maps)
    enlarged = [F.interpolate(each[None], (side, side), mode="bilinear", align_corners=False)[0] for each in maps]
    return torch.stack(enlarged).mean(dim=0)
