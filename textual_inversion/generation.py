"""From prompts to pictures with the frozen model, learned words included."""

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from ldm.latent_diffusion import LatentDiffusion
from ldm.sampling import Sampler

from .embedding_manager import EmbeddingManager
from .words.file import LearnedWord


def manager_of(ldm: LatentDiffusion, words: Sequence[LearnedWord]) -> EmbeddingManager:
    """The learned words, ready to be put into prompts for `ldm`."""
    vectors = {word.placeholder: word.vectors for word in words}
    return EmbeddingManager(ldm.cond_stage_model.tokenizer, vectors).to(ldm.device)


def require_placeholders(prompts: Sequence[str], embeddings: EmbeddingManager) -> None:
    """Raises ValueError for a prompt that mentions none of the learned words: it would silently paint something
    else."""
    known = " or ".join(repr(placeholder) for placeholder in embeddings.placeholders)
    for prompt in prompts:
        if not embeddings.mentions(prompt):
            raise ValueError(
                f"the prompt {prompt!r} does not mention {known}, the learned word: write it into the prompt."
            )


@torch.no_grad()
def generate(
    ldm: LatentDiffusion,
    prompts: Sequence[str],
    embeddings: EmbeddingManager | None = None,
    *,
    sampler: Sampler = Sampler(50),  # noqa: B008 - frozen
    guidance: float = 4.0,
    seed: int = 0,
    indices: Sequence[int] | None = None,
    batch_size: int = 8,
    progress: bool = True,
) -> Tensor:
    """One picture a prompt: [n, 3, H, W] in [-1, 1], on the CPU, by `sampler` with guidance.

    Each starts from the noise of (seed, its number), so it does not depend on `batch_size`; `indices` are the numbers,
    0, 1, ... if None.
    """
    text = ldm.cond_stage_model
    indices = range(len(prompts)) if indices is None else indices
    pictures = []
    for start in tqdm(range(0, len(prompts), batch_size), desc="painting", unit="batch", disable=not progress):
        batch = list(prompts[start : start + batch_size])
        c = text(batch) if embeddings is None else embeddings.encode(text, batch)
        z_T = ldm.noise(seed, indices[start : start + batch_size])
        pictures.append(ldm.sample(c, z_T, sampler, guidance).clamp(-1.0, 1.0).cpu())
    return torch.cat(pictures)
