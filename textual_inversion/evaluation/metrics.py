"""The paper's two metrics (Gal et al. 2022, section 5.1) and the Fréchet distance, on embeddings of unit length.
Cosines as they are: other papers' CLIPScore is 2.5 times as much."""

import torch
import torch.nn.functional as F
from torch import Tensor


def image_similarity(samples: Tensor, references: Tensor) -> float:
    """Reconstruction: mean cosine of all pairs of a sample [n, d] and a training picture [m, d]."""
    return float((samples @ references.T).mean())


def similarity_among(references: Tensor) -> float:
    """The same of the training pictures [m, d] with each other, none with itself: what a random one of them would get.
    Raises ValueError for fewer than two."""
    m = len(references)
    if m < 2:
        raise ValueError(f"{m} picture has none to be compared with: give at least 2")
    return float(((references @ references.T).sum() - references.square().sum()) / (m * (m - 1)))


def text_similarity(samples: Tensor, text: Tensor) -> float:
    """Editability as in the paper: cosine of the samples' mean embedding, [n, d], with the prompt's, [d]."""
    return float(F.cosine_similarity(samples.mean(dim=0), text, dim=0))


def published_text_similarity(samples: Tensor, text: Tensor) -> float:
    """Editability as in the official code: the mean of the samples' cosines, which is lower."""
    return float((samples @ text).mean())


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """Between the normal distributions that fit two sets of features, [n, d] and [m, d] (Heusel et al. 2017):
    ||mu - mu'||^2 + tr(C + C' - 2 (C C')^(1/2))."""
    (mu, C), (mu_other, C_other) = ((x.double().mean(dim=0), torch.cov(x.double().T)) for x in (features, others))
    # C C' is similar to a symmetric matrix with no negative eigenvalue, but for rounding.
    roots = torch.linalg.eigvals(C @ C_other).real.clamp(min=0.0).sqrt()
    return float((mu - mu_other).square().sum() + C.trace() + C_other.trace() - 2.0 * roots.sum())
