"""A place is the same in every process, has room for sky and ground, and looks different from all other places."""

import itertools

import cv2
import numpy as np
import pytest

from toyland.attributes import BACKGROUNDS
from toyland.backgrounds import backdrop, bank


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_equal_seeds_give_equal_pictures(name):
    first, first_horizon = backdrop(name, np.random.default_rng(5))
    second, second_horizon = backdrop(name, np.random.default_rng(5))
    assert first.shape == (256, 256, 3) and first.dtype == np.uint8
    assert first_horizon == second_horizon and np.array_equal(first, second)


def test_a_bank_is_the_same_when_it_is_drawn_again():
    drawn = bank.__wrapped__("desert")  # draw again, without the cache
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(drawn, bank("desert"), strict=True))


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_the_horizon_lies_in_the_middle_third(name):
    assert all(0.35 * 256 <= horizon <= 0.65 * 256 for _, horizon in bank(name))


def test_painting_on_a_backdrop_leaves_the_bank_alone():
    image, _ = backdrop("city", np.random.default_rng(0))
    image[:] = 0
    again, _ = backdrop("city", np.random.default_rng(0))
    assert again.any()


def test_places_differ_more_than_the_pictures_of_a_place():
    thumbnails = {
        name: np.array([cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA) for image, _ in bank(name)], float)
        for name in BACKGROUNDS
    }
    means = {name: pictures.mean(0) for name, pictures in thumbnails.items()}
    for name, other in itertools.combinations(BACKGROUNDS, 2):
        assert np.abs(means[name] - means[other]).mean() > 15, (name, other)
    for name, pictures in thumbnails.items():
        nearest = [min(means, key=lambda other: np.square(picture - means[other]).sum()) for picture in pictures]
        assert nearest.count(name) >= 0.9 * len(nearest), name


def test_an_unknown_place_is_an_error():
    with pytest.raises(ValueError, match="mars"):
        backdrop("mars", np.random.default_rng(0))
