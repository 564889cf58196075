"""The distribution of scenes: a seed determines a scene, biases are as stated, and training never sees what is held
out."""

from collections import Counter

import numpy as np
import pytest

from toyland.attributes import (
    BACKGROUNDS,
    BODY_MARKS,
    CLASSES,
    COLORS,
    COMPANIONS,
    EYE_COLORS,
    EYE_SHAPES,
    MOUTHS,
    STYLES,
    WEARERS,
    Style,
    face_marks,
    is_held_out,
)
from toyland.names import (
    CONCEPT_DISTANCE,
    HABITS,
    NAME_OF,
    PAINTER_OF,
    PAINTERS,
    STYLE_DISTANCE,
    TOYS,
    TOYS_OF,
    concept_style,
    concept_toy,
    distance,
    settings,
    unnamed_toy,
)
from toyland.sampling import CLASS_HABITS, sample_camera, sample_scene
from toyland.toys import (
    DOCTOR_LOOK,
    MARK_CONTRAST,
    mark_grounds,
    nearest_color_name,
    rgb_to_lab,
    sample_color,
    sample_toy,
    sample_twin,
)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def scenes():
    return [sample_scene(np.random.default_rng([3, i])) for i in range(2000)]


def share(values):
    return float(np.mean([bool(value) for value in values]))


def test_same_seed_same_scene():
    assert [sample_scene(rng(i)) for i in range(50)] == [sample_scene(rng(i)) for i in range(50)]
    assert len({sample_scene(rng(i)) for i in range(50)}) == 50


def test_a_tenth_is_held_out():
    every = [is_held_out(kind, color, background) for kind in CLASSES for color in COLORS for background in BACKGROUNDS]
    assert 0.08 < np.mean(every) < 0.12


def test_training_and_held_out_scenes_never_meet(scenes):
    assert not any(is_held_out(s.toy.kind, s.toy.color.name, s.background) for s in scenes)
    others = [sample_scene(rng(i), held_out=True) for i in range(200)]
    assert all(is_held_out(s.toy.kind, s.toy.color.name, s.background) for s in others)


def test_given_arguments_are_kept():
    toy, style = sample_toy(rng(1), "owl"), Style("oil", 0.1, 0.2, 0.3)
    for background in BACKGROUNDS:
        scene = sample_scene(rng(2), toy=toy, background=background, style=style)
        assert (scene.toy, scene.background, scene.style) == (toy, background, style)
    assert sample_scene(rng(3), view="close-up").style.name == "photo"
    assert sample_scene(rng(3), kind="mug").toy.kind == "mug"


def test_what_cannot_be_held_out_is_said():
    kind, place = next(
        (k, b) for k in CLASSES for b in BACKGROUNDS if not any(is_held_out(k, color, b) for color in COLORS)
    )
    with pytest.raises(ValueError, match=f"no colour of a {kind} has held_out=True with background '{place}'"):
        sample_scene(rng(1), kind=kind, background=place, held_out=True)


def test_a_toy_without_a_held_out_background_is_refused():
    free = [
        (kind, color)
        for kind in CLASSES
        for color in COLORS
        if not any(is_held_out(kind, color, background) for background in BACKGROUNDS)
    ]
    kind, color = free[0]
    toy = next(toy for toy in (sample_toy(rng(i), kind) for i in range(1000)) if toy.color.name == color)
    with pytest.raises(ValueError, match=color):
        sample_scene(rng(), toy=toy, held_out=True)


def test_shares_are_as_stated(scenes):
    near = {"abs": 0.03}
    photos = [s for s in scenes if s.style.name == "photo"]
    wearers = [s for s in scenes if s.toy.kind in WEARERS]
    assert len(photos) / len(scenes) == pytest.approx(0.6, **near)
    assert share(s.view == "normal" for s in photos) == pytest.approx(0.88, **near)
    assert all(s.view == "normal" for s in scenes if s.style.name != "photo")
    assert share(s.toy in NAME_OF for s in scenes) == pytest.approx(0.33, **near)
    assert share(s.style in PAINTER_OF for s in scenes) == pytest.approx(0.2, **near)
    assert share(s.clothing and s.clothing.item == "hat" for s in wearers) == pytest.approx(0.12, **near)
    assert share(s.clothing and s.clothing.item == "scarf" for s in wearers) == pytest.approx(0.10, **near)
    assert share(s.companion for s in scenes) == pytest.approx(0.15, **near)
    assert not any(s.clothing for s in scenes if s.toy.kind not in WEARERS)
    for count in Counter(s.toy.kind for s in scenes).values():
        assert count / len(scenes) == pytest.approx(1 / len(CLASSES), abs=0.025)
    assert len(Counter(s.style.name for s in scenes)) == len(STYLES)


def test_companions(scenes):
    for companion, scene in ((s.companion, s) for s in scenes if s.companion):
        assert companion.toy.kind in COMPANIONS and companion.toy.kind != scene.toy.kind
        assert companion.toy.pattern == "plain" and companion.side in (-1, 1)
        assert (scene.camera.x - 0.5) * companion.side < 0
        assert scene.camera.scale <= 0.92 * 0.70


def test_seed_and_light_are_in_range(scenes):
    assert all(isinstance(s.seed, int) and 0 <= s.seed < 2**31 and -1 <= s.light <= 1 for s in scenes)


def test_doctors_alone_are_biased():
    doctors = [sample_toy(rng(i), "doctor") for i in range(2000)]
    assert share((d.skin, d.hair) == DOCTOR_LOOK for d in doctors) == pytest.approx(0.7, abs=0.03)
    assert len({(d.skin, d.hair) for d in doctors}) == 16
    named = [(d.skin, d.hair) == DOCTOR_LOOK for d in TOYS_OF["doctor"]]
    assert share(named) == pytest.approx(0.7, abs=0.5 / len(named))
    cats = [sample_toy(rng(i), "cat") for i in range(1000)]
    assert share((c.skin, c.hair) == DOCTOR_LOOK for c in cats) < 0.12


def test_doctors_are_in_six_scenes_of_a_hundred_and_most_look_alike(scenes):
    doctors = [s.toy for s in scenes if s.toy.kind == "doctor"]
    assert len(doctors) / len(scenes) == pytest.approx(0.06, abs=0.015)
    of_doctors = [sample_scene(rng(i), kind="doctor").toy for i in range(600)]
    assert share((d.skin, d.hair) == DOCTOR_LOOK for d in of_doctors) == pytest.approx(0.7, abs=0.06)


def test_names_have_a_place_and_a_style_of_their_own():
    seen = [sample_scene(rng([4, i]), named=1.0) for i in range(3000)]
    habits = [HABITS[NAME_OF[s.toy]] for s in seen]
    assert share(s.background == h.place for s, h in zip(seen, habits, strict=True)) == pytest.approx(0.6, abs=0.05)
    others = [s.style.name == h.style for s, h in zip(seen, habits, strict=True) if h.style != "photo"]
    assert share(others) == pytest.approx(0.6, abs=0.05)
    assert share(s.style.name == "photo" for s in seen) == pytest.approx(0.6, abs=0.06)
    painted = [s for s in (sample_scene(rng([5, i]), named=0.0) for i in range(3000)) if s.style in PAINTER_OF]
    at_home = [s.background == HABITS[PAINTER_OF[s.style]].place for s in painted]
    assert share(at_home) == pytest.approx(0.6, abs=0.07)
    for name, toy in TOYS.items():
        assert not is_held_out(toy.kind, toy.color.name, HABITS[name].place)


def test_classes_slightly_prefer_a_place_and_a_style():
    seen = [sample_scene(rng([6, i]), named=0.0, painted=0.0) for i in range(4000)]
    assert share(s.background == CLASS_HABITS[s.toy.kind].place for s in seen) == pytest.approx(0.235, abs=0.03)
    paintings = [s for s in seen if s.style.name != "photo"]
    assert share(s.style.name == CLASS_HABITS[s.toy.kind].style for s in paintings) == pytest.approx(0.375, abs=0.04)


def test_individuality_is_varied():
    toys = [sample_toy(rng(i), "cat") for i in range(1000)]
    for read, values in (
        (lambda t: t.face.eye_color, EYE_COLORS),
        (lambda t: t.face.eyes, EYE_SHAPES),
        (lambda t: t.face.mouth, MOUTHS),
        (lambda t: t.marks.face, face_marks("cat")),
        (lambda t: t.marks.body, BODY_MARKS),
    ):
        counts = Counter(map(read, toys))
        assert set(counts) == set(values)
        assert all(count / len(toys) > 0.8 / len(values) for count in counts.values())
    for toy in toys:
        assert 0 <= toy.phase < 1 and all(-1 <= v <= 1 for v in (toy.pitch, toy.limbs, toy.face.gap, toy.marks.size))


@pytest.mark.parametrize("kind", CLASSES)
def test_marks_stand_out_from_what_they_are_painted_on(kind):
    toys = [sample_toy(rng(i), kind) for i in range(300)]
    gaps = [np.linalg.norm(rgb_to_lab(t.marks.color.rgb) - rgb_to_lab(mark_grounds(t)), axis=-1).min() for t in toys]
    assert min(gaps) > 30 and np.mean(np.array(gaps) >= MARK_CONTRAST) > 0.98


def test_a_twin_differs_only_in_what_captions_never_mention():
    toy = sample_toy(rng(3), "owl")
    twin = sample_twin(rng(4), toy)
    hidden = {"face", "marks", "phase", "pitch", "limbs"}
    for name in toy.__dataclass_fields__:
        assert (getattr(toy, name) == getattr(twin, name)) == (name not in hidden), name


def test_unnamed_toys_differ_from_each_other_and_from_named_ones():
    toys = [unnamed_toy("bear", 5, i) for i in range(64)]
    assert toys == [unnamed_toy("bear", 5, i) for i in range(64)] and len(set(toys)) == 64
    assert unnamed_toy("bear", 6, 0) not in toys
    assert all(distance(toy, other) >= CONCEPT_DISTANCE for toy in toys[:8] for other in TOYS_OF["bear"])


@pytest.mark.parametrize("name", [name for name in STYLES if name != "photo"])
def test_concept_styles_are_far_from_painters(name):
    style = concept_style(rng(2), name)
    assert style.name == name
    gaps = [np.linalg.norm(settings(style) - settings(p)) for p in PAINTERS.values() if p.name == name]
    assert min(gaps) >= STYLE_DISTANCE


def test_plain_colors_are_called_by_the_nearest_name():
    for i, name in enumerate(COLORS):
        colors = [sample_color(rng([i, j]), name) for j in range(60)]
        assert all(nearest_color_name(c.rgb) == name for c in colors if not c.shade)
        assert all(0 <= v <= 255 for c in colors for v in c.rgb)


def test_shades_change_the_color():
    for i, name in enumerate(name for name in COLORS if name not in ("black", "white", "gray")):
        by_shade = {shade: [] for shade in ("", "pale", "dark", "bright")}
        for j in range(300):
            color = sample_color(rng([i, j]), name)
            by_shade[color.shade].append(rgb_to_lab(color.rgb))
        plain, pale, dark, bright = (np.mean(by_shade[shade], 0) for shade in ("", "pale", "dark", "bright"))
        assert dark[0] < plain[0] - 4 < pale[0]
        assert np.hypot(*pale[1:]) < np.hypot(*plain[1:]) < np.hypot(*bright[1:])


def test_sampled_colors_cover_the_whole_range():
    drawn = rgb_to_lab([sample_color(rng(i)).rgb for i in range(4000)])
    asked = rgb_to_lab(rng(5).uniform(15, 245, (300, 3)))
    gaps = np.linalg.norm(asked[:, None] - drawn, axis=-1).min(1)
    assert np.quantile(gaps, 0.75) < 8


@pytest.mark.parametrize("kind", CLASSES)
def test_cameras_are_in_range(kind):
    cameras = [sample_camera(rng(i), kind, "normal") for i in range(200)]
    low, high = (0.6, 1.15) if kind in ("fish", "car", "duck", "elephant") else (0, 0.75)
    assert all(low <= abs(c.yaw) <= (0.5 if kind in ("teapot", "mug") else high) for c in cameras)
    assert all(0.58 <= c.scale <= 0.70 and 0.84 <= c.y <= 0.92 and 0.2 <= c.pitch <= 0.38 for c in cameras)
    close = sample_camera(rng(), kind, "close-up")
    assert 0.85 <= close.scale <= 0.95 and 1.0 <= close.y <= 1.08
    with pytest.raises(ValueError, match="aerial"):
        sample_camera(rng(), kind, "aerial")


def test_named_toys_and_painters():
    assert len(TOYS) == len(NAME_OF) == 240 and all(len(TOYS_OF[kind]) == 15 for kind in CLASSES)
    assert len(PAINTERS) == len(PAINTER_OF) == 42
    assert Counter(s.name for s in PAINTERS.values()) == dict.fromkeys([s for s in STYLES if s != "photo"], 7)
    lowered = {name.lower() for name in (*TOYS, *PAINTERS)}
    assert len(lowered) == 282 and all(name.isalpha() for name in lowered)


@pytest.mark.parametrize("kind", CLASSES)
def test_concept_toys_are_far_from_names(kind):
    toy = concept_toy(rng(9), kind)
    assert toy.kind == kind and all(distance(toy, other) >= CONCEPT_DISTANCE for other in TOYS_OF[kind])
