"""Equal scenes render to equal pixels, and every attribute of a scene is visible."""

from dataclasses import replace

import numpy as np
import pytest

from toyland.attributes import (
    CLASSES,
    COLORS,
    PARTS,
    PATTERNS,
    WEARERS,
    Camera,
    Clothing,
    Color,
    Companion,
    Scene,
    Toy,
)
from toyland.render import render

RED, BLUE, YELLOW = (Color(name, "", COLORS[name]) for name in ("red", "blue", "yellow"))
CAMERA = Camera(yaw=0.5, pitch=0.28, scale=0.62, x=0.5, y=0.86)


def scene_of(kind: str, **attributes) -> Scene:
    return Scene(Toy(kind, RED, YELLOW, **attributes), "studio", CAMERA, seed=7)


def changed(a: Scene, b: Scene) -> np.ndarray:
    """Return the mask of pixels in which the images of two scenes clearly differ, bool [128, 128]."""
    return np.abs(render(a).image.astype(int) - render(b).image).max(-1) > 8


def test_equal_scenes_give_equal_pixels():
    companion = Companion(Toy("mug", BLUE, RED, "spotted"), 1, 0.3, 0.1)
    scene = replace(scene_of("cat", pattern="striped"), clothing=Clothing("hat", BLUE), companion=companion)
    first, second = render(scene), render(replace(scene))
    assert first.image.shape == (128, 128, 3) and first.image.dtype == np.uint8
    assert first.mask.shape == (128, 128) and first.mask.dtype == bool
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.mask, second.mask)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_fills_a_fair_part_of_the_picture(kind):
    assert 0.02 < render(scene_of(kind)).mask.mean() < 0.7


@pytest.mark.parametrize(("kind", "proportion"), [(k, p) for k in CLASSES for p in PARTS[k]])
def test_every_proportion_shows(kind, proportion):
    small, large = (scene_of(kind, **{proportion: v}) for v in (-1.0, 1.0))
    assert changed(small, large).sum() > 60


@pytest.mark.parametrize("kind", CLASSES)
def test_proportions_a_class_lacks_have_no_effect(kind):
    lacking = {p: 1.0 for p in ("ears", "belly", "head", "tail") if p not in PARTS[kind]}
    assert not changed(scene_of(kind), scene_of(kind, **lacking)).any()


@pytest.mark.parametrize("kind", CLASSES)
def test_color_changes_the_figure_and_nothing_else(kind):
    scene = scene_of(kind)
    difference, mask = changed(scene, replace(scene, toy=replace(scene.toy, color=BLUE))), render(scene).mask
    assert (difference & mask).sum() > 0.1 * mask.sum()
    assert (difference & ~mask).sum() < 0.1 * difference.sum()  # pixels at the outline, which the figure covers partly


@pytest.mark.parametrize("pattern", PATTERNS[1:])
def test_patterns_show(pattern):
    assert changed(scene_of("cat"), scene_of("cat", pattern=pattern)).sum() > 200


def test_companion_is_seen_but_not_in_the_mask():
    scene = scene_of("cat")
    beside = replace(scene, companion=Companion(Toy("mug", BLUE, RED), -1, 0.0, 0.0))
    assert changed(scene, beside).sum() > 100
    assert (render(beside).mask & ~render(scene).mask).sum() == 0


@pytest.mark.parametrize("item", ("hat", "scarf"))
@pytest.mark.parametrize("kind", sorted(WEARERS))
def test_clothing_is_worn_and_belongs_to_the_mask(kind, item):
    scene = replace(scene_of(kind), clothing=Clothing(item, BLUE))
    worn = changed(scene, replace(scene, clothing=Clothing(item, YELLOW)))
    assert worn.sum() > 30
    assert (worn & render(scene).mask).sum() > 0.8 * worn.sum()


def test_classes_without_a_head_refuse_clothing():
    with pytest.raises(ValueError, match="hat"):
        render(replace(scene_of("car"), clothing=Clothing("hat", BLUE)))


def test_views_change_the_light():
    normal, dark, bright = (render(replace(scene_of("cat"), view=v)).image.mean() for v in ("normal", "dark", "bright"))
    assert dark < 0.6 * normal and bright > 1.1 * normal
