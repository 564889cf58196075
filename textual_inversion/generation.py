"""Generate images from prompts with the frozen model and learned words."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from ldm.errors import UserError, require_number, require_whole
from ldm.latent_diffusion import LatentDiffusion
from ldm.sampling import Sampler

from .embedding_manager import EmbeddingManager
from .mapper import Mapper
from .prompts import encode_prompts
from .words.file import LearnedWord


def manager_of(ldm: LatentDiffusion, words: Sequence[LearnedWord]) -> EmbeddingManager:
    """Return an EmbeddingManager with the learned words for `ldm`. Raises UserError if two have the same name, or if
    one has vectors for the layers of another UNet."""
    names = [word.placeholder for word in words]
    if len(set(names)) < len(names):
        raise UserError(
            f"two words share a placeholder: {names}. Name them as you like, as in word={{<a>: <file>, <b>: <file>}}, "
            "or rename one in its file with `python scripts/embeddings.py rename`."
        )
    for word in words:
        word.require_layers(ldm.unet.cross_attention_layers)
    vectors = {word.placeholder: word.vectors for word in words}
    mappers = {word.placeholder: Mapper.of(word.mapper) for word in words if word.mapper}
    return EmbeddingManager(ldm.text_encoder.tokenizer, vectors, mappers).to(ldm.device)


@torch.no_grad()
def generate_images(
    ldm: LatentDiffusion,
    prompts: Sequence[str],
    embeddings: EmbeddingManager | None = None,
    *,
    sampler: Sampler,
    guidance: float,
    seed: int = 0,
    indices: Sequence[int] | None = None,
    batch_size: int = 8,
    progress: bool = True,
    negative_prompt: str = "",
    fill: bool = False,
) -> Tensor:
    """Generate one image per prompt with `sampler` and classifier-free guidance: [n, 3, H, W] in [-1, 1], on the CPU.

    A part of a prompt may have a weight (see `weighting`). The noise of an image depends only on (seed, its index,
    step), not on `batch_size`. `indices` defaults to 0, 1, ... Guidance leads away from `negative_prompt`.

    Rounding depends on how many images are computed together. `fill` completes the last batch with copies of its last
    image, so that an image which was generated in a batch of `batch_size` comes out bit for bit."""
    require_whole("batch_size", batch_size, 1)
    require_whole("seed", seed, 0)
    require_number("guidance", guidance)
    embeddings = manager_of(ldm, []) if embeddings is None else embeddings
    indices = range(len(prompts)) if indices is None else indices
    uncond = encode_prompts(ldm.text_encoder, [negative_prompt], embeddings) if negative_prompt else None
    pictures = []
    for start in tqdm(
        range(0, len(prompts), batch_size), desc="generating", unit="batch", leave=False, disable=not progress
    ):
        batch = list(prompts[start : start + batch_size])
        numbers = list(indices[start : start + batch_size])
        copies = batch_size - len(batch) if fill else 0
        c = encode_prompts(ldm.text_encoder, batch + batch[-1:] * copies, embeddings)
        noise = partial(ldm.noise, seed, numbers + numbers[-1:] * copies)
        images = ldm.sample(c, noise(), sampler, guidance, noise, uncond)[: len(batch)]
        pictures.append(images.clamp(-1.0, 1.0).cpu())
    return torch.cat(pictures)
