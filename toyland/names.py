"""Proper names. Each name of a toy stands for one toy with all attributes fixed, and each name of a painter for one
setting of a style filter. They teach the model that a single word can stand for a whole appearance, which textual
inversion relies on."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from .attributes import (
    BACKGROUNDS,
    BODY_MARKS,
    CLASSES,
    EYE_COLORS,
    EYE_SHAPES,
    FACE_MARKS,
    HAIRS,
    MOUTHS,
    PARTS,
    PATTERNS,
    PROPORTIONS,
    SKINS,
    STYLES,
    WITH_FACE,
    WITH_MOUTH,
    Style,
    Toy,
    is_held_out,
)
from .toys import COMMON_LOOK, DOCTOR_LOOK, rgb_to_lab, sample_look, sample_style, sample_toy

# Each first syllable is combined with each second one: 16 x 15 names.
_FIRST = "Mo Zu Pi Ka Lu Bi No To Fi Ra Se Do Ge Wi Hu Va".split()
_SECOND = "mo zu ndi rra bu du tilo fa sha lo vi lune lina pelo ri".split()
_PAINTERS = """Varello Okumen Tardini Belloque Hasgrun Mirenko Ostravel
    Lindqvar Pesquero Dumarin Kovelli Sandrume Yorikawa Brantoux
    Elmgard Castovar Nuriel Wendelow Farzani Tolbecq Irmelin
    Quorvane Zebrowen Almerac Grindahl Pavloni Sorelka Thackmor
    Uvaldi Jesperon Corvandel Haldeque Matsurei Bruneval Ekstrun
    Delorva Fenwalde Rakovini Lasquier Ombrelli Vintermoor Cassagne""".split()

CONCEPT_DISTANCE = 1.1  # minimum `distance` of a concept toy from the named toys of its class
STYLE_DISTANCE = 0.7  # minimum distance of a concept style from the settings of its painters


@dataclass(frozen=True)
class Habit:
    """The usual `place` (in BACKGROUNDS) and `style` (in STYLES) of a named toy, a painter or a class."""

    place: str
    style: str


def _one_hot(value: str, values: Iterable[str], weight: float) -> list[float]:
    return [weight * (value == other) for other in values]


def features(toy: Toy) -> np.ndarray:
    """Return the toy as a vector of its colours, proportions, pattern, look, eye colour, shapes of eyes and mouth, and
    kinds of marks, with about equal weights. The sizes and positions of features, the colour of marks, and the
    pattern's pitch and phase are left out."""
    parts = [getattr(toy, name) / 2 if name in PARTS[toy.kind] else 0.0 for name in PROPORTIONS]
    pattern = _one_hot(toy.pattern, PATTERNS, 0.5)
    look = [value for attribute, values in ((toy.skin, SKINS), (toy.hair, HAIRS))
            for value in _one_hot(attribute, values, 0.5 * (toy.kind == "doctor"))]  # fmt: skip
    face = _one_hot(toy.face.eye_color, EYE_COLORS, 0.4) + _one_hot(toy.face.eyes, EYE_SHAPES, 0.4)
    face = [value * (toy.kind in WITH_FACE) for value in face] + _one_hot(
        toy.face.mouth, MOUTHS, 0.3 * (toy.kind in WITH_MOUTH)
    )
    marks = _one_hot(toy.marks.face, FACE_MARKS, 0.4) + _one_hot(toy.marks.body, BODY_MARKS, 0.4)
    colors = rgb_to_lab([toy.color.rgb, toy.color2.rgb]).ravel() / 100
    return np.concatenate([colors, parts, pattern, look, face, marks])


def distance(toy: Toy, other: Toy) -> float:
    """Return how different two toys of the same class look. Toys that differ only in what `features` leaves out have
    distance 0. One difference alone gives: black against white 0.77, another pattern 0.71, another mark 0.57, the two
    extremes of a proportion 1."""
    return float(np.linalg.norm(features(toy) - features(other)))


def settings(style: Style) -> np.ndarray:
    """Return palette, stroke and grain as a vector [3]."""
    return np.array([style.palette, style.stroke, style.grain])


def _draw_spread_out(rng: np.random.Generator, count: int, draw, vector) -> list:
    """Draw `count` values that are spread out: each is the one of four draws that is farthest from all earlier ones."""
    chosen, vectors = [], []
    for _ in range(count):
        options = [draw(rng) for _ in range(4)]
        option_vectors = [vector(option) for option in options]
        gaps = [min((float(np.linalg.norm(v - w)) for w in vectors), default=0.0) for v in option_vectors]
        best = int(np.argmax(gaps))
        chosen.append(options[best])
        vectors.append(option_vectors[best])
    return chosen


def _with_look(rng: np.random.Generator, doctor: Toy, common: bool) -> Toy:
    look = DOCTOR_LOOK
    while not common and look == DOCTOR_LOOK:
        look = sample_look(rng)
    return replace(doctor, skin=look[0], hair=look[1])


def _make_toys() -> dict[str, Toy]:
    rng = np.random.default_rng(240)
    names = [first + second for first in _FIRST for second in _SECOND]
    names = [names[i] for i in rng.permutation(len(names))]  # so that a syllable does not imply the class
    each = len(names) // len(CLASSES)
    toys = {}
    for i, kind in enumerate(CLASSES):
        drawn = _draw_spread_out(rng, each, lambda r, kind=kind: sample_toy(r, kind), features)
        if kind == "doctor":  # `_draw_spread_out` does not keep the frequencies of the looks, so assign them again
            drawn = [_with_look(rng, toy, i < round(COMMON_LOOK * each)) for i, toy in enumerate(drawn)]
        toys.update(zip(names[i * each : (i + 1) * each], drawn, strict=True))
    return toys


def _make_habits() -> dict[str, Habit]:
    """Choose a place and a style for each name. The place of a toy is never held out of training, and six toys in ten
    have photo as their style, like scenes in general."""
    rng = np.random.default_rng(77)
    places, styles = tuple(BACKGROUNDS), tuple(STYLES)
    habits = {}
    for name, toy in TOYS.items():
        seen = [place for place in places if not is_held_out(toy.kind, toy.color.name, place)]
        style = styles[0] if rng.random() < 0.6 else styles[rng.integers(1, len(styles))]
        habits[name] = Habit(seen[rng.integers(len(seen))], style)
    for i, (name, style) in enumerate(PAINTERS.items()):
        habits[name] = Habit(places[i % len(places)], style.name)
    return habits


def _make_painters() -> dict[str, Style]:
    rng = np.random.default_rng(42)
    styles = [name for name in STYLES if name != "photo"]
    each = len(_PAINTERS) // len(styles)
    painters = {}
    for i, style in enumerate(styles):
        drawn = _draw_spread_out(
            rng,
            each,
            lambda r, style=style: sample_style(r, style),
            settings,
        )
        painters.update(zip(_PAINTERS[i :: len(styles)], drawn, strict=True))
    return painters


TOYS: dict[str, Toy] = _make_toys()
TOYS_OF: dict[str, tuple[Toy, ...]] = {k: tuple(toy for toy in TOYS.values() if toy.kind == k) for k in CLASSES}
PAINTERS: dict[str, Style] = _make_painters()
PAINTERS_OF: dict[str, tuple[Style, ...]] = {
    style: tuple(painter for painter in PAINTERS.values() if painter.name == style) for style in STYLES
}
NAME_OF: dict[Toy, str] = {toy: name for name, toy in TOYS.items()}
HABITS: dict[str, Habit] = _make_habits()  # by name of toy or painter
PAINTER_OF: dict[Style, str] = {style: name for name, style in PAINTERS.items()}


def is_unnamed(toy: Toy) -> bool:
    """Return whether the toy is at least `CONCEPT_DISTANCE` from every named toy of its class."""
    return min(distance(toy, other) for other in TOYS_OF[toy.kind]) >= CONCEPT_DISTANCE


def concept_toy(rng: np.random.Generator, kind: str) -> Toy:
    """Sample a toy of class `kind` that is far from all named toys, see `is_unnamed`."""
    while True:
        toy = sample_toy(rng, kind)
        if is_unnamed(toy):
            return toy


def concept_style(rng: np.random.Generator, name: str) -> Style:
    """Sample settings of style `name`, which is not "photo", that are at least `STYLE_DISTANCE` from those of all its
    painters."""
    while True:
        style = sample_style(rng, name)
        if min(np.linalg.norm(settings(style) - settings(other)) for other in PAINTERS_OF[name]) >= STYLE_DISTANCE:
            return style


def unnamed_toy(kind: str, seed: int, number: int) -> Toy:
    """Return unnamed toy `number` of class `kind`. There is no limit to `number`."""
    return concept_toy(np.random.default_rng([seed, tuple(CLASSES).index(kind), number]), kind)
