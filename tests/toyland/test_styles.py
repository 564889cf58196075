"""A style filter is deterministic, each of its settings is visible, and the object still stands out."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from toyland.attributes import STYLES, Style
from toyland.styles import apply_style

PAINTED = [name for name in STYLES if name != "photo"]


@pytest.fixture
def ball() -> tuple[np.ndarray, np.ndarray]:
    """An image of a shaded red ball in front of a pale blue wall, and the outline of the ball."""
    y, x = np.mgrid[:128, :128]
    image = np.stack([140 + 0 * y, 200 + 0 * y, 250 - y // 2], -1).astype(np.uint8)
    inside = (x - 64) ** 2 + (y - 70) ** 2 < 34**2
    image[inside] = np.stack([250 - y, 90 - y // 2, 70 - y // 2], -1)[inside]
    outline = inside & ~cv2.erode(inside.astype(np.uint8), np.ones((3, 3))).astype(bool)
    return image, outline


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


@pytest.mark.parametrize("name", STYLES)
def test_equal_seeds_give_equal_pictures_and_the_input_is_unchanged(ball, name):
    image, outline = ball
    before, border = image.copy(), outline.copy()
    first, second = (apply_style(image, outline, Style(name), np.random.default_rng(3)) for _ in range(2))
    assert first.shape == (128, 128, 3) and first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.array_equal(image, before) and np.array_equal(outline, border)


def test_a_photo_is_the_picture_itself(ball):
    style = Style("photo", palette=1, stroke=1, grain=1)
    assert np.array_equal(apply_style(*ball, style, np.random.default_rng(0)), ball[0])


@pytest.mark.parametrize("setting", ["palette", "stroke", "grain"])
@pytest.mark.parametrize("name", PAINTED)
def test_every_setting_is_visible(ball, name, setting):
    low, middle, high = (
        apply_style(*ball, replace(Style(name), **{setting: value}), np.random.default_rng(0)) for value in (-1, 0, 1)
    )
    assert difference(low, high) > 2
    assert difference(low, middle) > 0.5 and difference(middle, high) > 0.5


@pytest.mark.parametrize("name", PAINTED)
@pytest.mark.parametrize("value", [-1, 0, 1])
def test_the_object_still_stands_out(ball, name, value):
    painted = apply_style(*ball, Style(name, value, value, value), np.random.default_rng(0)).astype(float)
    inside, beside = painted[50:90, 44:84].mean((0, 1)), painted[50:90, 8:24].mean((0, 1))
    assert np.abs(inside - beside).max() > 25
    # After averaging over areas larger than the grain, the layout is that of the original image.
    layout, original = (cv2.blur(i.astype(float).mean(-1), (9, 9))[12:-12, 12:-12].ravel() for i in (painted, ball[0]))
    assert np.corrcoef(layout, original)[0, 1] > 0.6


def test_styles_are_distinct(ball):
    pictures = [apply_style(*ball, Style(name), np.random.default_rng(0)) for name in STYLES]
    assert min(difference(a, b) for i, a in enumerate(pictures) for b in pictures[:i]) > 3


def test_unknown_styles_and_wrong_sizes_are_errors(ball):
    image, outline = ball
    with pytest.raises(ValueError, match="fresco"):
        apply_style(image, outline, Style("fresco"), np.random.default_rng(0))
    with pytest.raises(ValueError, match="128"):
        apply_style(image[:64], outline, Style("oil"), np.random.default_rng(0))
