"""Rank images by how well they show their prompt. The paper shows the best of 16 images by CLIP."""

from collections.abc import Sequence
from functools import reduce

from torch import Tensor

from ldm.errors import UserError

from ..captions import SLOT
from ..weighting import parse, plain
from .subjects import without_word
from .zero_shot import Embedder


def prompt_similarity(clip: Embedder, images: Tensor, prompt: str, placeholders: Sequence[str]) -> Tensor:
    """Return the cosine [n] of CLIP's embeddings of images [n, 3, H, W] in [-1, 1] with the prompt, without the learned
    words, which CLIP does not know. Raises UserError if nothing else is in the prompt."""
    longest_first = sorted(placeholders, key=len, reverse=True)
    template = reduce(lambda text, placeholder: text.replace(placeholder, SLOT), longest_first, prompt)
    text = plain(parse(without_word(template)))
    if not any(symbol.isalnum() for symbol in text):
        raise UserError(
            f"best= compares images with the prompt, and {prompt!r} says nothing besides the learned word, which CLIP "
            "does not know: write more into the prompt, or leave best= out."
        )
    return clip.embed_images(images) @ clip.embed_texts([text])[0]
