"""Proper names. Each name of a toy stands for one toy with all attributes fixed, and each name of a painter for one
setting of a style filter. They teach the model that a single word can stand for a whole appearance, which textual
inversion relies on."""

from dataclasses import replace

import numpy as np

from .attributes import CLASSES, HAIRS, PARTS, PATTERNS, PROPORTIONS, SKINS, STYLES, Style, Toy
from .toys import DOCTOR_LOOK, lab, sample_style, sample_toy

# Each first syllable is combined with each second one: 16 x 15 names.
_FIRST = "Mo Zu Pi Ka Lu Bi No To Fi Ra Se Do Ge Wi Hu Va".split()
_SECOND = "mo zu ndi rra bu du tilo fa sha lo vi lune lina pelo ri".split()
_PAINTERS = """Varello Okumen Tardini Belloque Hasgrun Mirenko Ostravel
    Lindqvar Pesquero Dumarin Kovelli Sandrume Yorikawa Brantoux
    Elmgard Castovar Nuriel Wendelow Farzani Tolbecq Irmelin
    Quorvane Zebrowen Almerac Grindahl Pavloni Sorelka Thackmor
    Uvaldi Jesperon Corvandel Haldeque Matsurei Bruneval Ekstrun
    Delorva Fenwalde Rakovini Lasquier Ombrelli Vintermoor Cassagne""".split()

CONCEPT_DISTANCE = 0.85  # minimum `distance` of a concept toy from the named toys of its class


def features(toy: Toy) -> np.ndarray:
    """Return the toy as a vector [18] in which all visible attributes of its class have about the same weight."""
    parts = [getattr(toy, name) / 2 if name in PARTS[toy.kind] else 0.0 for name in PROPORTIONS]
    pattern = [0.5 * (toy.pattern == name) for name in PATTERNS]
    look = [0.5 * (toy.kind == "doctor" and toy.skin == name) for name in SKINS]
    look += [0.5 * (toy.kind == "doctor" and toy.hair == name) for name in HAIRS]
    colors = lab([toy.color.rgb, toy.color2.rgb]).ravel() / 100
    return np.concatenate([colors, parts, pattern, look])


def distance(toy: Toy, other: Toy) -> float:
    """Return how different two toys of the same class look. Equal toys have distance 0. One difference alone gives:
    black against white about 0.95, another pattern 0.71, the two extremes of a proportion 1."""
    return float(np.linalg.norm(features(toy) - features(other)))


def _spread(rng: np.random.Generator, count: int, draw, vector) -> list:
    """Draw `count` values that are spread out: each is the one of four draws that is farthest from all earlier ones."""
    chosen, vectors = [], []
    for _ in range(count):
        options = [draw(rng) for _ in range(4)]
        found = [vector(option) for option in options]
        gaps = [min((float(np.linalg.norm(v - w)) for w in vectors), default=0.0) for v in found]
        best = int(np.argmax(gaps))
        chosen.append(options[best])
        vectors.append(found[best])
    return chosen


def _draw_named_toy(rng: np.random.Generator, kind: str) -> Toy:
    toy = sample_toy(rng, kind)
    # All named doctors have the common look, so that names do not weaken the bias.
    return replace(toy, skin=DOCTOR_LOOK[0], hair=DOCTOR_LOOK[1]) if kind == "doctor" else toy


def _make_toys() -> dict[str, Toy]:
    rng = np.random.default_rng(240)
    names = [first + second for first in _FIRST for second in _SECOND]
    names = [names[i] for i in rng.permutation(len(names))]  # so that a syllable does not imply the class
    each = len(names) // len(CLASSES)
    toys = {}
    for i, kind in enumerate(CLASSES):
        drawn = _spread(rng, each, lambda r, kind=kind: _draw_named_toy(r, kind), features)
        toys.update(zip(names[i * each : (i + 1) * each], drawn, strict=True))
    return toys


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
            lambda s: np.array([s.palette, s.stroke, s.grain]),
        )
        painters.update(zip(_PAINTERS[i :: len(styles)], drawn, strict=True))
    return painters


TOYS: dict[str, Toy] = _make_toys()
TOYS_OF: dict[str, tuple[Toy, ...]] = {k: tuple(toy for toy in TOYS.values() if toy.kind == k) for k in CLASSES}
PAINTERS: dict[str, Style] = _make_painters()
NAME_OF: dict[Toy, str] = {toy: name for name, toy in TOYS.items()}
PAINTER_OF: dict[Style, str] = {style: name for name, style in PAINTERS.items()}


def concept_toy(rng: np.random.Generator, kind: str) -> Toy:
    """Sample a toy of class `kind` that is at least `CONCEPT_DISTANCE` from every named toy of its class."""
    while True:
        toy = sample_toy(rng, kind)
        if min(distance(toy, other) for other in TOYS_OF[kind]) >= CONCEPT_DISTANCE:
            return toy
