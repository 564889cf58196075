"""Learning the direction of v* alone (Directional Textual Inversion, 2026): under eq. 2 the norm of a word grows beyond
that of the model's own words, and the rest of the prompt is heard less. Here it keeps the norm that it started with."""

import torch
from torch import Tensor


@torch.no_grad()
def keep_to_tangent(vectors: Tensor, gradient: Tensor) -> None:
    """Takes out of `gradient` [k, d], in place, what would change the norms of `vectors`: what is left is the gradient
    on the sphere."""
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    gradient -= (gradient * unit).sum(dim=1, keepdim=True) * unit


@torch.no_grad()
def back_to_sphere(vectors: Tensor, norms: Tensor) -> None:
    """Brings `vectors` [k, d], in place, back to `norms` [k] after a step."""
    vectors *= (norms / vectors.norm(dim=1))[:, None]
