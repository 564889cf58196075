"""What a latent diffusion model can be told (Rombach et al. 2022, section 3.3): a text, a class or a mask, and the two
ways in which that reaches the UNet. `Conditioner` and `TextEncoder` say what an encoder must offer; the text encoders
themselves are in `modules`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Unet = Callable[..., Tensor]


class Conditioner(Protocol):
    """A module that turns values of one kind (texts, classes, masks) into c, which the UNet reads.

    `condition_key` is the name of its values in a batch; guidance and dropout need the `unconditional` value."""

    @property
    def condition_key(self) -> str: ...
    @property
    def unconditional(self) -> Any: ...
    @property
    def device(self) -> torch.device: ...

    def __call__(self, values: Sequence[Any], /) -> Tensor:
        """b values -> c: a sequence [b, m, d] for `cross_attention`, or a map [b, k, h, w] for `concatenation`."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]: ...
    def to(self, dtype: torch.dtype, /) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...


class Tokenizer(Protocol):
    """Splits a text into pieces of a vocabulary. `words` are the pieces by id, `max_length` is the length that every
    text is framed to."""

    max_length: int
    vocab_size: int
    pad_id: int
    words: list[str]

    def pieces(self, text: str) -> list[int]:
        """Ids of the pieces of `text`, without those that mark its start and end."""
        ...

    def frame(self, pieces: Sequence[int]) -> list[int]:
        """Start, pieces, end, cut or padded to `max_length`."""
        ...

    def word(self, index: int) -> str:
        """The piece with that id, without the marks of the tokenizer."""
        ...

    def save(self, folder: Path) -> None:
        """Writes the files that transformers loads the tokenizer from."""
        ...

    def __call__(self, texts: Iterable[str], /) -> Tensor:
        """n texts -> ids [n, max_length]."""
        ...


class TextEncoder(Conditioner, Protocol):
    """A conditioner of texts in three public steps, tokenize -> embed -> encode, so that learned words can be put
    between the first two and the third. `width` is the size of a token's embedding, `max_length` the number of tokens
    of a text, `vocab_size` the number of rows of the token table."""

    width: int
    vocab_size: int
    max_length: int

    @property
    def tokenizer(self) -> Tokenizer: ...

    def tokenize(self, texts: Iterable[str], /) -> Tensor:
        """b texts -> ids [b, max_length]."""
        ...

    def embed(self, ids: Tensor, /) -> Tensor:
        """ids [b, n] -> rows of the token table [b, n, width], before positions."""
        ...

    def encode(self, embeddings: Tensor, /) -> Tensor:
        """Token embeddings [b, n, width] -> c [b, n, width]."""
        ...


def cross_attention(unet: Unet, z_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
    """eps(z_t, t, c): every place looks at the sequence c [b, m, d]."""
    return unet(z_t, t, c)


def concatenation(unet: Unet, z_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
    """eps((z_t, c), t): the map c [b, k, h, w] is k more channels of the noisy latents."""
    return unet(torch.cat([z_t, c.to(z_t.dtype)], dim=1), t)


class ClassEncoder(L.LightningModule):
    """Class names -> c [b, 1, width], one learned vector each, as the published ImageNet model has them; its last row
    stands for no class."""

    condition_key, unconditional = "class", ""

    def __init__(self, names: Sequence[str], width: int) -> None:
        super().__init__()
        self.names, self.width = tuple(names), width
        self.embedding = nn.Embedding(len(self.names) + 1, width)

    def forward(self, values: Sequence[str]) -> Tensor:
        rows = {name: row for row, name in enumerate((*self.names, self.unconditional))}
        unknown = [value for value in values if value not in rows]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no class of this model; it knows {', '.join(self.names)}.")
        return self.embedding(torch.tensor([rows[value] for value in values], device=self.device))[:, None]


class MaskEncoder(L.LightningModule):
    """Segmentation masks, boolean [H, W] arrays -> c [b, 1, size, size]: 1 inside, -1 outside, in between at the edge,
    and 0 everywhere for None. It has nothing to learn."""

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
