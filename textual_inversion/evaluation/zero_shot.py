"""Zero-shot classification with CLIP: the name whose texts are most similar to an image (Radford et al. 2021, 3.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from ldm.errors import UserError


class Embedder(Protocol):
    """Embeds images and texts in a common space, as [n, d] of unit length."""

    def embed_images(self, x: Tensor) -> Tensor: ...

    def embed_texts(self, texts: list[str]) -> Tensor: ...


@dataclass(frozen=True)
class Question:
    """A zero-shot classification: which of `names` (label -> its words) fits an image best. The words are put into the
    slot "{}" of each text in `forms`."""

    names: Mapping[str, str]
    forms: Sequence[str]

    def __post_init__(self) -> None:
        if not self.names or not self.forms:
            raise UserError(f"a question needs names and forms, got {dict(self.names)} and {list(self.forms)}")
        wrong = [form for form in self.forms if form.count("{}") != 1]
        if wrong:
            raise UserError(f"every form needs exactly one {{}}, unlike {wrong}")

    @property
    def words(self) -> list[str]:
        return list(self.names.values())

    def index(self, label: str) -> int:
        """Return the index of the label. Raises UserError if it is not among the names."""
        if label not in self.names:
            raise UserError(f"{label!r} is not one of {list(self.names)}")
        return list(self.names).index(label)


def embed_names(clip: Embedder, names: Sequence[str], forms: Sequence[str]) -> Tensor:
    """Return one vector of unit length per name [n, d]: the normalised mean of the embeddings of its texts."""
    embeddings = clip.embed_texts([form.format(name) for name in names for form in forms])
    return F.normalize(embeddings.reshape(len(names), len(forms), -1).mean(dim=1), dim=-1)


def zero_shot(clip: Embedder, images: Tensor, names: Sequence[str], forms: Sequence[str]) -> Tensor:
    """Classify images [b, 3, H, W] in [-1, 1]; return indices [b] into `names`."""
    return nearest(clip.embed_images(images), embed_names(clip, names, forms))


def nearest(images: Tensor, names: Tensor) -> Tensor:
    """Return for each image embedding [b, d] the index [b] of the name embedding [n, d] with the largest cosine."""
    return (images @ names.T).argmax(dim=-1)
