"""Zero-shot classification with CLIP: the name whose sentences lie nearest a picture (Radford et al. 2021, 3.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


class Embedder(Protocol):
    """Pictures and sentences in one space, both of unit length [n, d]."""

    def embed_images(self, x: Tensor) -> Tensor: ...

    def embed_texts(self, texts: list[str]) -> Tensor: ...


@dataclass(frozen=True)
class Question:
    """What a picture is asked: which of `names` (label -> its words), put into the "{}" of each sentence form."""

    names: Mapping[str, str]
    forms: Sequence[str]

    def __post_init__(self) -> None:
        if not self.names or not self.forms:
            raise ValueError(f"a question needs names and forms, got {dict(self.names)} and {list(self.forms)}")
        wrong = [form for form in self.forms if form.count("{}") != 1]
        if wrong:
            raise ValueError(f"sentence forms have one {{}} each, unlike {wrong}")

    @property
    def words(self) -> list[str]:
        return list(self.names.values())

    def index(self, label: str) -> int:
        """The label's number. Raises ValueError for a label that is none of the names."""
        if label not in self.names:
            raise ValueError(f"{label!r} is none of {list(self.names)}")
        return list(self.names).index(label)


def embed_names(clip: Embedder, names: Sequence[str], forms: Sequence[str]) -> Tensor:
    """One vector of unit length per name [n, d]: the mean of its sentences' embeddings."""
    embeddings = clip.embed_texts([form.format(name) for name in names for form in forms])
    return F.normalize(embeddings.reshape(len(names), len(forms), -1).mean(dim=1), dim=-1)


def zero_shot(clip: Embedder, images: Tensor, names: Sequence[str], forms: Sequence[str]) -> Tensor:
    """Pictures [b, 3, H, W] in [-1, 1] -> indices [b] into `names`."""
    return nearest(clip.embed_images(images), embed_names(clip, names, forms))


def nearest(images: Tensor, names: Tensor) -> Tensor:
    """Embeddings [b, d] and [n, d] -> for each picture the index [b] of the name with the largest cosine."""
    return (images @ names.T).argmax(dim=-1)
