"""The paper's two metrics (Gal et al. 2022, section 5.1) and the Fréchet distance, on embeddings of unit length, and a
correlation of pixels. Similarities are plain cosines; the CLIPScore of other papers is 2.5 times as large."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ldm.errors import UserError


def image_similarity(samples: Tensor, references: Tensor) -> float:
    """Return the reconstruction metric: the mean cosine over all pairs of a sample [n, d] and a training image [m,
    d]."""
    return float((samples @ references.T).mean())


def similarity_among(references: Tensor) -> float:
    """Return the mean cosine over all pairs of different training images [m, d], the expected image similarity of a
    random training image. Raises UserError for fewer than two images."""
    m = len(references)
    if m < 2:
        raise UserError(f"{m} image cannot be compared with others: at least 2 are needed")
    return float(((references @ references.T).sum() - references.square().sum()) / (m * (m - 1)))


def text_similarity(samples: Tensor, text: Tensor) -> float:
    """Return the editability metric of the paper: the cosine between the mean embedding of the samples, [n, d], and
    that of the prompt, [d]."""
    return float(F.cosine_similarity(samples.mean(dim=0), text, dim=0))


def published_text_similarity(samples: Tensor, text: Tensor) -> float:
    """Return the editability metric of the official code: the mean of the cosines of all samples, which is lower."""
    return float((samples @ text).mean())


def brightness_correlation(one: Tensor, other: Tensor) -> float:
    """Return Pearson's correlation of the brightness of two images [3, H, W] over their pixels: 1 for the same
    structure, about 0 for images that have nothing in common, and 0 if one is of a single brightness."""
    pixels = torch.stack([image.mean(dim=0).flatten() for image in (one, other)])
    return float(torch.corrcoef(pixels)[0, 1].nan_to_num())


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """Return the Fréchet distance between normal distributions fitted to two sets of features, [n, d] and [m, d]
    (Heusel et al. 2017): ||mu - mu'||^2 + tr(C + C' - 2 (C C')^(1/2)). Written by hand, since torchmetrics takes images
    instead of features, and would compute the features anew for every comparison."""
    (mu, C), (mu_other, C_other) = ((x.double().mean(dim=0), torch.cov(x.double().T)) for x in (features, others))
    # C C' is similar to a symmetric positive semi-definite matrix; rounding can make its eigenvalues slightly negative.
    roots = torch.linalg.eigvals(C @ C_other).real.clamp(min=0.0).sqrt()
    return float((mu - mu_other).square().sum() + C.trace() + C_other.trace() - 2.0 * roots.sum())
