"""What the official code does and this project does not, written down for comparisons."""

from collections.abc import Mapping, Sequence

import torch
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
