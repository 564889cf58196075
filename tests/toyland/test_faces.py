"""Faces and marks, which captions never mention, are visible in every image, at the right place and large enough."""

from dataclasses import replace

import numpy as np
import pytest

from toyland.attributes import (
    BODY_MARKS,
    CLASSES,
    COLORS,
    EYE_COLORS,
    EYE_SHAPES,
    MOUTHS,
    WEARERS,
    WITH_FACE,
    WITH_MOUTH,
    Camera,
    Color,
    Face,
    Marks,
    Scene,
    Style,
    Toy,
    face_marks,
)
from toyland.faces import eye_name
from toyland.figures import figure
from toyland.painting import heart, pattern, star
from toyland.render import FINE, actors, render, tilt_matrix
from toyland.sampling import sample_camera, sample_scene
from toyland.surfaces import join_solids, place_solids, rasterize
from toyland.toys import sample_toy, sample_twin
from toyland.truth import truth

RED, YELLOW, LIME = (Color(name, "", COLORS[name]) for name in ("red", "yellow", "lime"))


def a_scene(kind: str, **attributes) -> Scene:
    yaw = 0.8 if kind in ("fish", "car", "duck", "elephant") else 0.3
    camera = Camera(yaw=yaw, pitch=0.28, scale=0.62, x=0.5, y=0.86)
    return Scene(Toy(kind, RED, YELLOW, **attributes), "studio", camera, seed=7)


def changed(a: Scene, b: Scene) -> np.ndarray:
    """Return the mask of pixels in which the images of two scenes clearly differ, bool [128, 128]."""
    return np.abs(render(a).image.astype(int) - render(b).image).max(-1) > 12


def surfaces(scene: Scene) -> tuple[list[str], np.ndarray]:
    """Return the names of the main figure's parts, and the surface number at each pixel, int16 [256, 256]."""
    tilt = tilt_matrix(scene.camera.pitch)
    cast = actors(scene, tilt)
    stage = join_solids([place_solids(a.parts, a.view, a.offset) for a in cast])
    pixels, unit = np.arange(FINE) + 0.5, scene.camera.scale * FINE
    x, y = (pixels - scene.camera.x * FINE) / unit, (scene.camera.y * FINE - pixels) / unit
    return [p.name for p in cast[0].parts], rasterize(stage, x, y)[1]


@pytest.mark.parametrize("kind", sorted(WITH_FACE))
def test_an_eye_is_at_least_four_pixels_wide_at_every_distance(kind):
    for i in range(60):
        scene = sample_scene(np.random.default_rng([1, i]), kind=kind, style=Style())
        names, surface = surfaces(scene)
        widths = [(surface == names.index(eye_name(side))).any(0).sum() / 2 for side in (1, -1)]
        assert max(widths) >= 4, (i, widths)


@pytest.mark.parametrize("kind", sorted(WITH_FACE))
def test_a_faceless_toy_differs_in_the_face_only(kind):
    scene = a_scene(kind, marks=Marks(face=face_marks(kind)[-1], color=LIME))
    without = replace(scene, toy=replace(scene.toy, faceless=True))
    face = render(scene).face
    differs = changed(scene, without)
    assert differs.sum() >= 40 and (differs & ~face).sum() < 0.15 * differs.sum()  # eyes cast shadows
    labels = truth(without)
    assert labels["face"] == "none" and {labels[name] for name in ("eye_color", "eyes", "mouth", "face_mark")} == {""}


@pytest.mark.parametrize("kind", sorted(WITH_FACE))
def test_irises_are_large(kind):
    scene = a_scene(kind)
    for eyes in EYE_SHAPES:
        one, other = (replace(scene, toy=replace(scene.toy, face=Face(c, eyes))) for c in ("amber", "violet"))
        assert changed(one, other).sum() >= 8, eyes


@pytest.mark.parametrize("kind", sorted(WITH_FACE))
def test_every_eye_is_visible_and_changes_only_the_face(kind):
    faces = [Face(color) for color in EYE_COLORS]
    faces += [Face(eyes=eyes) for eyes in EYE_SHAPES[1:]]
    pictures = [render(a_scene(kind, face=face)) for face in faces]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            apart = np.abs(one.image.astype(int) - other.image).max(-1) > 12
            assert apart.sum() >= 8
            assert (apart & ~(one.face | other.face)).sum() <= 0.1 * apart.sum()


@pytest.mark.parametrize("kind", CLASSES)
def test_mouths_are_visible_on_classes_with_a_mouth(kind):
    scenes = [a_scene(kind, face=Face(mouth=mouth)) for mouth in MOUTHS]
    for i, one in enumerate(scenes):
        for other in scenes[:i]:
            count = changed(one, other).sum()
            assert count >= 5 if kind in WITH_MOUTH else count == 0


@pytest.mark.parametrize("kind", CLASSES)
def test_every_mark_is_visible(kind):
    for where, values in (("face", face_marks(kind)), ("body", BODY_MARKS)):
        scenes = [a_scene(kind, marks=Marks(**{where: value}, color=LIME)) for value in values]
        for i, one in enumerate(scenes):
            for other in scenes[:i]:
                assert changed(one, other).sum() >= 20, (one.toy.marks, other.toy.marks)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_face_mask_lies_in_the_figure(kind):
    picture = render(a_scene(kind))
    assert not (picture.face & ~picture.mask).any()
    assert (60 < picture.face.sum() < 0.5 * picture.mask.sum()) if kind in WITH_FACE else not picture.face.any()


@pytest.mark.parametrize("kind", CLASSES)
def test_two_toys_with_the_same_description_look_different(kind):
    for i in range(6):
        rng = np.random.default_rng([2, i])
        toy = sample_toy(rng, kind)
        scene = Scene(toy, "studio", sample_camera(rng, kind, "normal"))
        other = replace(scene, toy=sample_twin(rng, toy))
        assert changed(scene, other).sum() > 60
        assert not changed(scene, replace(scene, toy=replace(toy))).any()


@pytest.mark.parametrize("name", ["striped", "spotted", "checkered"])
def test_patterns_are_regular_and_have_a_phase_and_a_pitch(name):
    p = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 4000)).astype(np.float32)
    usual = pattern(name, p, "y")
    assert np.mean(usual != pattern(name, p, "y", phase=0.4)) > 0.2
    assert np.mean(usual != pattern(name, p, "y", pitch=0.9)) > 0.2
    period = {"striped": 0.19, "spotted": 0.33, "checkered": 0.28}[name]
    higher = p + np.array([[0], [period], [0]], np.float32)
    assert np.mean(usual != pattern(name, higher, "y")) < 0.02


def test_stars_and_hearts_have_points_and_a_notch():
    x, y = np.meshgrid(np.linspace(-1.5, 1.5, 61), np.linspace(-1.5, 1.5, 61))
    for shape in (star, heart):
        inside = shape(x, y)
        np.testing.assert_array_equal(inside, inside[:, ::-1])
        assert 0.4 < inside.sum() * 0.05**2 < 3.2 and not inside[[0, -1]].any()
    assert star(np.array([0.0]), np.array([0.95])) and not star(np.array([0.0]), np.array([-0.95]))
    assert not heart(np.array([0.0]), np.array([0.9])) and heart(np.array([0.0]), np.array([-0.7]))


@pytest.mark.parametrize("head", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("kind", sorted(WEARERS))
def test_hats_sit_on_heads_above_the_eyes(kind, head):
    shape = figure(Toy(kind, RED, YELLOW, head=head))
    foot = shape.crown.centre[1]
    eyes = [p for p in shape.parts if p.name == eye_name(1)]
    assert foot >= max(p.centre[1] for p in eyes)
    tops = [p.centre[1] + p.radii[1] for p in shape.parts if p.name in ("head", "body", "hair")]
    assert max(tops) - 0.12 <= foot <= max(tops) + 0.02
