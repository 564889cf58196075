"""The metrics on cases that can be computed by hand."""

import math

import pytest
import torch
from torch import Tensor

from ldm.keyed_random import generator
from textual_inversion.evaluation.metrics import (
    frechet_distance,
    image_similarity,
    published_text_similarity,
    similarity_among,
    text_similarity,
)


def at(*degrees: float) -> Tensor:
    """Unit vectors [n, 2] in these directions."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def cosine(degrees: float) -> float:
    return math.cos(math.radians(degrees))


def features(n: int, scale: Tensor, shift: Tensor, seed: int = 0) -> Tensor:
    """Rows [n, d] whose mean is `shift` and whose covariance is diag(scale^2), exactly."""
    x = torch.randn(n, len(scale), generator=generator(seed), dtype=torch.float64)
    x = torch.linalg.qr(x - x.mean(dim=0)).Q * math.sqrt(n - 1)
    return x * scale + shift


def test_image_similarity_is_the_mean_cosine_of_all_pairs():
    samples, references = at(0, 90), at(0, 30, 60)
    expected = (cosine(0) + cosine(30) + cosine(60) + cosine(90) + cosine(60) + cosine(30)) / 6
    assert image_similarity(samples, references) == pytest.approx(expected, abs=1e-6)
    assert image_similarity(references, samples) == pytest.approx(expected, abs=1e-6)


def test_pictures_among_themselves_are_not_compared_with_themselves():
    assert similarity_among(at(0, 90)) == pytest.approx(0.0, abs=1e-6)
    expected = (cosine(30) + cosine(60) + cosine(30)) / 3
    assert similarity_among(at(0, 30, 60)) == pytest.approx(expected, abs=1e-6)
    assert similarity_among(at(0, 30, 60)) < image_similarity(at(0, 30, 60), at(0, 30, 60))


def test_one_picture_alone_has_none_to_be_compared_with():
    with pytest.raises(ValueError, match="1 picture has none to be compared with"):
        similarity_among(at(0))


def test_the_papers_text_similarity_is_the_cosine_of_the_mean_and_the_published_one_the_mean_of_cosines():
    samples, (text,) = at(-60, 60), at(0)
    assert text_similarity(samples, text) == pytest.approx(1.0, abs=1e-6)
    assert published_text_similarity(samples, text) == pytest.approx(cosine(60), abs=1e-6)


def test_the_mean_of_cosines_is_lower_by_the_length_of_the_mean():
    samples, (text,) = at(10, 40, 95), at(20)
    length = float(samples.mean(dim=0).norm())
    assert length < 0.9
    assert published_text_similarity(samples, text) == pytest.approx(length * text_similarity(samples, text), abs=1e-6)


def test_samples_that_agree_score_the_same_either_way():
    samples, (text,) = at(25, 25, 25), at(0)
    assert text_similarity(samples, text) == pytest.approx(cosine(25), abs=1e-6)
    assert published_text_similarity(samples, text) == pytest.approx(cosine(25), abs=1e-6)


def test_equal_sets_have_no_frechet_distance_in_any_order():
    x = torch.randn(40, 6, generator=generator(1))
    assert frechet_distance(x, x.flip(0)) == pytest.approx(0.0, abs=1e-6)


def test_the_frechet_distance_of_two_gaussians_is_the_one_on_paper():
    """Covariances that commute: |mu - mu'|^2 + sum (s - s')^2."""
    scale, other = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 2.0, 1.5]).double()
    shift = torch.tensor([1.0, -2.0, 0.0]).double()
    x, y = features(50, scale, torch.zeros(3).double()), features(80, other, shift, seed=1)
    expected = 1 + 4 + (3 - 1) ** 2 + 0 + (1.5 - 0.5) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_sees_correlations_that_no_single_feature_shows():
    along = torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double() / math.sqrt(2)
    scale, nowhere = torch.tensor([3.0, 1.0]).double(), torch.zeros(2).double()
    x, y = features(60, scale, nowhere) @ along, features(60, scale.flip(0), nowhere) @ along
    torch.testing.assert_close(x.var(dim=0), y.var(dim=0))
    assert frechet_distance(x, y) == pytest.approx(2 * (3 - 1) ** 2, rel=1e-6)


def test_fewer_pictures_than_features_still_have_a_frechet_distance():
    x, y = (torch.randn(5, 12, generator=generator(seed)) for seed in (2, 3))
    assert math.isfinite(frechet_distance(x, y)) and frechet_distance(x, y) > 0
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-4)
