"""Sample scenes: cameras, clothes, companions and places. All randomness comes from the `rng` that is passed in, so a
seed determines a scene. A fixed tenth of all combinations of class, main colour and background is held out of
training."""

import hashlib
from dataclasses import replace

import numpy as np

from .attributes import (
    BACKGROUNDS,
    CLASSES,
    COMPANIONS,
    VIEWS,
    WEARERS,
    Camera,
    Clothing,
    Companion,
    Scene,
    Style,
    Toy,
)
from .names import PAINTERS, TOYS_OF
from .toys import pick, sample_color, sample_style, sample_toy, split

SIDE_VIEWED = frozenset(("fish", "car", "duck", "elephant"))  # most recognisable from the side
HANDLED = frozenset(("teapot", "mug"))  # turned only so far that the handle stays visible

VIEW_EDGES = (0.88, 0.92, 0.96)  # cumulative shares of VIEWS: normal 0.88, the others 0.04 each
_MOVE_ASIDE = 0.1  # to make room for a companion, the main figure moves by this fraction of the picture's side
_SHRINK = 0.92  # the main figure also shrinks by this factor


def _sample_yaw(rng: np.random.Generator, kind: str) -> float:
    if kind in SIDE_VIEWED:
        return float(pick(rng, (-1, 1)) * rng.uniform(0.6, 1.15))
    limit = 0.5 if kind in HANDLED else 0.75
    return float(rng.uniform(-limit, limit))


def sample_camera(rng: np.random.Generator, kind: str, view: str) -> Camera:
    """Sample a camera that shows a main figure of class `kind` well. A "close-up" `view` is nearer. Raises ValueError
    if `view` is not in VIEWS."""
    if view not in VIEWS:
        raise ValueError(f"view {view!r} is none of {VIEWS}")
    close = view == "close-up"
    return Camera(
        yaw=_sample_yaw(rng, kind),
        pitch=float(rng.uniform(0.2, 0.38)),
        scale=float(rng.uniform(*((0.85, 0.95) if close else (0.58, 0.70)))),
        x=float(rng.uniform(0.42, 0.58)),
        y=float(rng.uniform(*((1.0, 1.08) if close else (0.84, 0.92)))),
    )


def is_held_out(kind: str, color_name: str, background: str) -> bool:
    """Return whether this combination is held out of training. A stable hash holds out a tenth of all combinations."""
    digest = hashlib.blake2b(f"{kind} {color_name} {background}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 10 == 0


def _toy_and_background(rng, toy, kind, background, named, held_out) -> tuple[Toy, str]:
    """Sample whatever is None until the combination is held out, or not, as `held_out` requires. If both toy and
    background are given, accept them as they are."""

    if toy is not None and background is not None:
        return toy, background
    if toy is not None:
        allowed = [b for b in BACKGROUNDS if is_held_out(toy.kind, toy.color.name, b) == held_out]
        if not allowed:
            raise ValueError(f"a {toy.color.name} {toy.kind} has no background with held_out={held_out}")
        return toy, pick(rng, allowed)
    while True:
        one_kind = kind or pick(rng, CLASSES)
        drawn = pick(rng, TOYS_OF[one_kind]) if rng.random() < named else sample_toy(rng, one_kind)
        place = background or pick(rng, tuple(BACKGROUNDS))
        if is_held_out(drawn.kind, drawn.color.name, place) == held_out:
            return drawn, place


def _sample_style_or_painter(rng: np.random.Generator, painted: float) -> Style:

    style = sample_style(rng)
    if style.name != "photo" and rng.random() < painted:
        return pick(rng, tuple(PAINTERS.values()))
    return style


def _sample_clothing(rng: np.random.Generator, kind: str) -> Clothing | None:
    item = split(rng, ("hat", "scarf", None), (0.12, 0.22))
    return Clothing(item, sample_color(rng)) if item and kind in WEARERS else None


def _sample_companion(rng: np.random.Generator, kind: str) -> Companion | None:
    if rng.random() >= 0.15:
        return None
    other = pick(rng, [name for name in COMPANIONS if name != kind])
    toy = replace(sample_toy(rng, other), pattern="plain")
    return Companion(toy, int(pick(rng, (-1, 1))), _sample_yaw(rng, other), float(rng.uniform(0, 0.35)))


def sample_scene(
    rng: np.random.Generator,
    *,
    toy: Toy | None = None,
    kind: str | None = None,
    background: str | None = None,
    style: Style | None = None,
    view: str | None = None,
    named: float = 0.33,
    painted: float = 0.5,
    held_out: bool = False,
) -> Scene:
    """Sample a scene. Arguments that are not None are kept. `named` is the share of toys that have a name, and
    `painted` the share of paintings that are in the style of a painter.

    `held_out` chooses whether the combination of class, main colour and background is one that training never sees. It
    has no effect if the caller gives both toy and background. Raises ValueError if there is no such background for the
    given toy.
    """
    toy, background = _toy_and_background(rng, toy, kind, background, named, held_out)
    if style is None:
        style = Style() if view not in (None, "normal") else _sample_style_or_painter(rng, painted)
    drawn_view = split(rng, VIEWS, VIEW_EDGES)
    if view is None:
        view = drawn_view if style.name == "photo" else "normal"
    camera = sample_camera(rng, toy.kind, view)
    clothing = _sample_clothing(rng, toy.kind)
    companion = _sample_companion(rng, toy.kind)
    if companion is not None and view == "close-up":  # it would be outside the picture
        companion = None
    if companion is not None:
        camera = replace(camera, x=camera.x - companion.side * _MOVE_ASIDE, scale=camera.scale * _SHRINK)
    return Scene(
        toy, background, camera, style, view, clothing, companion, float(rng.uniform(-1, 1)), int(rng.integers(2**31))
    )
