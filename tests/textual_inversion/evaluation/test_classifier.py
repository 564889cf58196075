"""The attribute classifier learns given labels, ignores missing ones, and is trained on degraded images."""

import pytest
import torch

from ldm.keyed_random import generator
from textual_inversion.evaluation.classifier import AttributeClassifier, perceptual_distance, soften

LABELS = {"color": ("red", "blue"), "pattern": ("plain", "striped")}
TRUTH = {"label_color": ["red", "blue", "red", "blue"], "label_pattern": ["plain", "striped", "", ""]}


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    built = AttributeClassifier(LABELS, channels=(8, 8), blocks=(0, 1), blur=1.0, noise=0.05)
    built.log = lambda *_, **__: None
    return built


@pytest.fixture
def pictures():
    """Images that are red and plain, blue and striped, red, and blue."""
    x = torch.full((4, 3, 16, 16), -0.8)
    x[0::2, 0] = x[1::2, 2] = 0.8
    x[1, :, ::4] = -1.0
    return x


def test_it_learns_the_labels_of_the_pictures_that_have_them(classifier, pictures):
    optimizer = torch.optim.Adam(classifier.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        classifier.training_step({"image": pictures} | TRUTH, 0).backward()
        optimizer.step()
    seen = classifier.eval().names(pictures, batch_size=3)
    assert seen["color"] == TRUTH["label_color"]
    assert seen["pattern"][:2] == ["plain", "striped"]


def test_a_picture_without_a_label_teaches_nothing_about_it(classifier, pictures):
    unknown = {"label_color": [""] * 4, "label_pattern": [""] * 4}
    loss = classifier.training_step({"image": pictures} | unknown, 0)
    assert loss == 0
    known = classifier.truth(TRUTH, "pattern")
    assert known.tolist()[:2] == [0, 1] and len(set(known.tolist()[2:]) & {0, 1}) == 0


def test_accuracy_counts_the_pictures_with_a_label_only(classifier, pictures):
    logged = {}
    classifier.log = lambda name, value, batch_size, **_: logged.update({name: (float(value), batch_size)})
    classifier.validation_step({"image": pictures} | TRUTH | {"label_color": [""] * 4}, 0)
    assert set(logged) == {"val/pattern"} and logged["val/pattern"][1] == 2


def test_softening_spares_half_keeps_the_mean_and_is_drawn_by_the_generator_alone():
    x = torch.rand(40, 3, 16, 16, generator=generator(1)) * 2 - 1
    soft, again = (soften(x, 1.5, 0.0, generator(2)) for _ in range(2))
    assert torch.equal(soft, again)
    spared = (soft == x).flatten(1).all(dim=1)
    assert 8 <= int(spared.sum()) <= 32
    blurred = soft[~spared]
    assert blurred.var() < 0.7 * x.var()
    torch.testing.assert_close(blurred.mean(), x[~spared].mean(), atol=0.02, rtol=0.0)
    flat = torch.full((4, 3, 16, 16), 0.3)
    torch.testing.assert_close(soften(flat, 1.5, 0.0, generator(3)), flat)


def test_noise_has_at_most_the_strength_that_is_asked_for():
    x = torch.zeros(200, 3, 16, 16)
    strength = soften(x, 0.0, 0.2, generator(4)).flatten(1).std(dim=1)
    assert 0.15 < strength.max() < 0.22


def test_features_are_one_vector_a_picture(classifier, pictures):
    assert classifier.features(pictures).shape == (4, 16)


@torch.no_grad()
def test_the_perceptual_distance_grows_with_the_difference_and_does_not_depend_on_order(classifier):
    x = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    distances = [perceptual_distance(classifier, x, x + strength * noise) for strength in (0.0, 0.05, 0.2, 0.8)]
    assert distances[0] == 0.0 and distances == sorted(distances) and 0.01 < distances[-1] <= 4.0
    assert perceptual_distance(classifier, x + noise, x) == pytest.approx(perceptual_distance(classifier, x, x + noise))
    parts = [perceptual_distance(classifier, x[i : i + 1], noise[i : i + 1]) for i in range(40)]
    assert perceptual_distance(classifier, x, noise) == pytest.approx(sum(parts) / 40, rel=1e-4)
