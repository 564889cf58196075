"""Keeping v* near the coarse word that it started from (Gal et al. 2022, section 5.1, "regularizations")."""

from collections.abc import Sequence

import torch
from torch import Tensor


def toward_coarse_word(vectors: Tensor, initial: Tensor, weight: float) -> Tensor:
    """`weight` times the squared distance of each vector [k, d] from its start [k, d], mean over the vectors."""
    return weight * (vectors - initial).square().sum(dim=1).mean()


def published_toward_coarse_word(vectors: Tensor, initial: Tensor, weight: float) -> Tensor:
    """As the official code has it, with cross terms; of one vector it is the same as `toward_coarse_word`."""
    return weight * published_coarse_loss([vectors], [initial]).mean()


def published_coarse_loss(vectors: Sequence[Tensor], initial: Sequence[Tensor]) -> Tensor:
    """The official code's penalty: of each placeholder's vectors [k, d] and their start, all k * k products of the
    differences, cross terms included, averaged over placeholders: [k, k]; its mean joins the loss. For one vector it is
    ||v* - v_coarse||^2."""
    differences = [v - start for v, start in zip(vectors, initial, strict=True)]
    return torch.stack([d @ d.T for d in differences]).mean(dim=0)
