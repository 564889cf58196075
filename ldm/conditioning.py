"""Conditioning of a latent diffusion model (Rombach et al. 2022, section 3.3) on texts, classes, masks or nothing, and
the ways a condition c enters the UNet: cross-attention, concatenation, or not at all. `Conditioner` and `TextEncoder`
are the interfaces of condition encoders; the text encoders are in `modules`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import UserError

Unet = Callable[..., Tensor]


class Conditioner(Protocol):
    """A module that encodes values of one kind (texts, classes, masks) as the condition c of the UNet.

    `condition_key` names these values in a batch. `unconditional` is the value for "no condition", which
    classifier-free guidance and caption dropout use."""

    @property
    def condition_key(self) -> str: ...
    @property
    def unconditional(self) -> Any: ...
    @property
    def device(self) -> torch.device: ...

    def __call__(self, values: Sequence[Any], /) -> Tensor:
        """Encode b values to c: a sequence [b, m, d] for `cross_attention`, or a map [b, k, h, w] for
        `concatenation`."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]: ...
    def to(self, dtype: torch.dtype, /) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...


class Tokenizer(Protocol):
    """Splits texts into pieces of a vocabulary. `words` lists the pieces by id; `max_length` is the number of ids per
    text after `frame`; `initializers` are words to suggest to somebody who looks for the name of a thing."""

    max_length: int
    vocab_size: int
    pad_id: int
    words: list[str]
    initializers: list[str]

    def pieces(self, text: str) -> list[int]:
        """Return the token ids of `text`, without start and end tokens."""
        ...

    def unknown(self, text: str) -> list[str]:
        """Return the words of `text` that the vocabulary does not hold, not even in pieces longer than a symbol."""
        ...

    def frame(self, pieces: Sequence[int]) -> list[int]:
        """Add start and end tokens to `pieces`, truncated or padded to `max_length`."""
        ...

    def word(self, index: int) -> str:
        """Return the piece with id `index`, without the tokenizer's own marks."""
        ...

    def save(self, folder: Path) -> None:
        """Write the files from which transformers loads the tokenizer."""
        ...

    def __call__(self, texts: Iterable[str], /) -> Tensor:
        """Tokenize n texts to ids [n, max_length]."""
        ...


class TextEncoder(Conditioner, Protocol):
    """A conditioner for texts in three public steps, tokenize -> embed -> encode, so that learned embeddings can be
    inserted before the third. `width` is the size of a token embedding, `max_length` the number of tokens per text,
    `vocab_size` the number of token embeddings."""

    width: int
    vocab_size: int
    max_length: int

    @property
    def tokenizer(self) -> Tokenizer: ...

    def tokenize(self, texts: Iterable[str], /) -> Tensor:
        """Tokenize b texts to ids [b, max_length]."""
        ...

    def embed(self, ids: Tensor, /) -> Tensor:
        """Look up the token embeddings [b, n, width] of ids [b, n], without position embeddings."""
        ...

    def encode(self, embeddings: Tensor, /) -> Tensor:
        """Encode token embeddings [b, n, width] to c [b, n, width]."""
        ...


def cross_attention(unet: Unet, z_t: Tensor, t: Tensor, c: Any) -> Tensor:
    """Return eps(z_t, t, c): every position attends to the sequence c [b, m, d], or to that of its layer in c [b,
    layers, m, d], or to the keys and values of `UNet.project`."""
    return unet(z_t, t, c)


def concatenation(unet: Unet, z_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
    """Return eps((z_t, c), t): the map c [b, k, h, w] is appended to the noisy latents as k more channels."""
    return unet(torch.cat([z_t, c.to(z_t.dtype)], dim=1), t)


def no_condition(unet: Unet, z_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
    """Return eps(z_t, t): the UNet of an unconditional model ignores c."""
    return unet(z_t, t)


class NoCondition(L.LightningModule):
    """The conditioner of an unconditional model: any b values -> an empty c [b, 0, 0]. It has no parameters. Training
    ignores the captions of the images. Guidance has no effect; with a guidance of 1 sampling costs half as much."""

    condition_key, unconditional = "caption", ""

    def forward(self, values: Sequence[Any]) -> Tensor:
        return torch.zeros(len(values), 0, 0, device=self.device)


class ClassEncoder(L.LightningModule):
    """Class names -> c [b, 1, width], one learned vector per class, as in the published ImageNet model. The last row of
    the table means "no class"."""

    condition_key, unconditional = "class", ""

    def __init__(self, names: Sequence[str], width: int) -> None:
        super().__init__()
        self.names, self.width = tuple(names), width
        self.embedding = nn.Embedding(len(self.names) + 1, width)

    def forward(self, values: Sequence[str]) -> Tensor:
        rows = {name: row for row, name in enumerate((*self.names, self.unconditional))}
        unknown = [value for value in values if value not in rows]
        if unknown:
            known = ", ".join(self.names) if len(self.names) <= 50 else f"{self.names[0]} to {self.names[-1]}"
            raise UserError(f"this model has no class {unknown[0]!r}; its classes are {known}.")
        return self.embedding(torch.tensor([rows[value] for value in values], device=self.device))[:, None]


class MaskEncoder(L.LightningModule):
    """Segmentation masks, boolean [H, W] arrays -> c [b, 1, size, size]: 1 inside, -1 outside, in between at the edge.
    None becomes 0 everywhere. The encoder has no parameters."""

    condition_key, unconditional = "mask", None

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, values: Sequence[Any]) -> Tensor:
        return torch.stack([self._map(value) for value in values])

    def _map(self, value: Any) -> Tensor:
        if value is None:
            return torch.zeros(1, self.size, self.size, device=self.device)
        inside = torch.as_tensor(value, device=self.device).float()[None, None]
        return 2.0 * F.adaptive_avg_pool2d(inside, self.size)[0] - 1.0
