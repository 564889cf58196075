"""Proper names: each is one toy with every attribute fixed, each painter's name one setting of a style's filter. They
make a single word able to stand for a whole appearance, which is what inversion needs."""

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
    FACED,
    HAIRS,
    MOUTHED,
    MOUTHS,
    PARTS,
    PATTERNS,
    PROPORTIONS,
    SKINS,
    STYLES,
    Style,
    Toy,
    is_held_out,
)
from .toys import COMMON_LOOK, DOCTOR_LOOK, lab, sample_look, sample_style, sample_toy

# Every first syllable with every second one: 16 x 15 names.
_FIRST = "Mo Zu Pi Ka Lu Bi No To Fi Ra Se Do Ge Wi Hu Va".split()
_SECOND = "mo zu ndi rra bu du tilo fa sha lo vi lune lina pelo ri".split()
_PAINTERS = """Varello Okumen Tardini Belloque Hasgrun Mirenko Ostravel
    Lindqvar Pesquero Dumarin Kovelli Sandrume Yorikawa Brantoux
    Elmgard Castovar Nuriel Wendelow Farzani Tolbecq Irmelin
    Quorvane Zebrowen Almerac Grindahl Pavloni Sorelka Thackmor
    Uvaldi Jesperon Corvandel Haldeque Matsurei Bruneval Ekstrun
    Delorva Fenwalde Rakovini Lasquier Ombrelli Vintermoor Cassagne""".split()

CONCEPT_DISTANCE = 1.1  # from every named toy of the class; see `distance`
STYLE_DISTANCE = 0.7  # from the three settings of every painter of the style


@dataclass(frozen=True)
class Habit:
    """Where and how a named toy or painter is mostly seen: `place` in BACKGROUNDS, `style` in STYLES."""

    place: str
    style: str


def _one_hot(value: str, values: Iterable[str], weight: float) -> list[float]:
    return [weight * (value == other) for other in values]


def features(toy: Toy) -> np.ndarray:
    """The toy as a vector in which each attribute of its class that can be seen has about the same weight."""
    parts = [getattr(toy, name) / 2 if name in PARTS[toy.kind] else 0.0 for name in PROPORTIONS]
    pattern = _one_hot(toy.pattern, PATTERNS, 0.5)
    look = [value for attribute, values in ((toy.skin, SKINS), (toy.hair, HAIRS))
            for value in _one_hot(attribute, values, 0.5 * (toy.kind == "doctor"))]  # fmt: skip
    face = _one_hot(toy.face.eye_color, EYE_COLORS, 0.4) + _one_hot(toy.face.eyes, EYE_SHAPES, 0.4)
    face = [value * (toy.kind in FACED) for value in face] + _one_hot(
        toy.face.mouth, MOUTHS, 0.3 * (toy.kind in MOUTHED)
    )
    marks = _one_hot(toy.marks.face, FACE_MARKS, 0.4) + _one_hot(toy.marks.body, BODY_MARKS, 0.4)
    colors = lab([toy.color.rgb, toy.color2.rgb]).ravel() / 100
    return np.concatenate([colors, parts, pattern, look, face, marks])


def distance(toy: Toy, other: Toy) -> float:
    """How different two toys of one class look: 0 is the same; black against white alone is about .95, another pattern
    .71, another mark .57, a proportion from end to end 1."""
    return float(np.linalg.norm(features(toy) - features(other)))


def settings(style: Style) -> np.ndarray:
    return np.array([style.palette, style.stroke, style.grain])


def _spread(rng: np.random.Generator, count: int, draw, vector) -> list:
    """`count` draws, each the one of four that lies farthest from those before it."""
    chosen, vectors = [], []
    for _ in range(count):
        options = [draw(rng) for _ in range(4)]
        found = [vector(option) for option in options]
        gaps = [min((float(np.linalg.norm(v - w)) for w in vectors), default=0.0) for v in found]
        best = int(np.argmax(gaps))
        chosen.append(options[best])
        vectors.append(found[best])
    return chosen


def _with_look(rng: np.random.Generator, doctor: Toy, common: bool) -> Toy:
    look = DOCTOR_LOOK
    while not common and look == DOCTOR_LOOK:
        look = sample_look(rng)
    return replace(doctor, skin=look[0], hair=look[1])


def _make_toys() -> dict[str, Toy]:
    rng = np.random.default_rng(240)
    names = [first + second for first in _FIRST for second in _SECOND]
    names = [names[i] for i in rng.permutation(len(names))]  # so that a syllable says nothing of the class
    each = len(names) // len(CLASSES)
    toys = {}
    for i, kind in enumerate(CLASSES):
        drawn = _spread(rng, each, lambda r, kind=kind: sample_toy(r, kind), features)
        if kind == "doctor":  # the farthest are not the most frequent looks: those are dealt out anew
            drawn = [_with_look(rng, toy, i < round(COMMON_LOOK * each)) for i, toy in enumerate(drawn)]
        toys.update(zip(names[i * each : (i + 1) * each], drawn, strict=True))
    return toys


def _make_habits() -> dict[str, Habit]:
    """A place that training may show, and a style: of six toys in ten a photo, as everywhere."""
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
        drawn = _spread(
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
HABITS: dict[str, Habit] = _make_habits()  # of every name
PAINTER_OF: dict[Style, str] = {style: name for name, style in PAINTERS.items()}


def is_unnamed(toy: Toy) -> bool:
    """Whether it is at least `CONCEPT_DISTANCE` from every named toy of its class."""
    return min(distance(toy, other) for other in TOYS_OF[toy.kind]) >= CONCEPT_DISTANCE


def concept_toy(rng: np.random.Generator, kind: str) -> Toy:
    """A toy that no name stands for."""
    while True:
        toy = sample_toy(rng, kind)
        if is_unnamed(toy):
            return toy


def concept_style(rng: np.random.Generator, name: str) -> Style:
    """A style that no painter has: at least `STYLE_DISTANCE` from every painter who uses it."""
    while True:
        style = sample_style(rng, name)
        if min(np.linalg.norm(settings(style) - settings(other)) for other in PAINTERS_OF[name]) >= STYLE_DISTANCE:
            return style


def stranger(kind: str, seed: int, number: int) -> Toy:
    """One of endlessly many toys of a class that have no name, say to learn telling them apart."""
    return concept_toy(np.random.default_rng([seed, tuple(CLASSES).index(kind), number]), kind)
