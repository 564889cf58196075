"""Sample scenes. All randomness comes from the `rng` that is passed in, so a seed determines a scene. As in real data,
words imply context: most images of a name show its usual place and style (its habit), and each class prefers one place
and one style slightly. A fixed tenth of all combinations of class, main colour and background is held out of
training, for the main figure: a companion may still show one."""

from dataclasses import replace

import numpy as np

from .attributes import (
    BACKGROUNDS,
    CLASSES,
    COLORS,
    COMPANIONS,
    STYLES,
    VIEWS,
    WEARERS,
    Camera,
    Clothing,
    Companion,
    Scene,
    Style,
    Toy,
    is_held_out,
)
from .names import HABITS, NAME_OF, PAINTER_OF, PAINTERS_OF, TOYS_OF, Habit
from .toys import pick, pick_by_share, sample_color, sample_style, sample_toy

PHOTO_SHARE = 0.6
HABIT_SHARE = 0.59  # share of a name's scenes that use its habit; some of the others match it by chance
# Of the other scenes, the share in the place of the class; of those that are no photos, the share in its style.
CLASS_PLACE_SHARE, CLASS_STYLE_SHARE = 0.15, 0.25
CLASS_HABITS = {
    "cat": Habit("table", "pencil"),
    "dog": Habit("meadow", "watercolor"),
    "rabbit": Habit("meadow", "pencil"),
    "bear": Habit("forest", "oil"),
    "owl": Habit("forest", "mosaic"),
    "elephant": Habit("desert", "watercolor"),
    "duck": Habit("beach", "comic"),
    "fish": Habit("underwater", "mosaic"),
    "robot": Habit("moon", "pixel"),
    "snowman": Habit("snow", "watercolor"),
    "doctor": Habit("studio", "oil"),
    "car": Habit("city", "comic"),
    "teapot": Habit("table", "oil"),
    "mug": Habit("table", "pencil"),
    "mushroom": Habit("forest", "watercolor"),
    "tree": Habit("snow", "pixel"),
}

SIDE_VIEWED = frozenset(("fish", "car", "duck", "elephant"))  # most recognisable from the side
WITH_HANDLE = frozenset(("teapot", "mug"))  # turned only so far that the handle stays visible
VIEW_EDGES = (0.88, 0.92, 0.96)  # cumulative shares of VIEWS: normal 0.88, the others 0.04 each
# To make room for a companion, the main figure moves by this fraction of the image's side and shrinks by this factor.
_MOVE_ASIDE = 0.1
_SHRINK = 0.92


def _sample_yaw(rng: np.random.Generator, kind: str) -> float:
    """Return a yaw in radians from which class `kind` is easy to recognise."""
    if kind in SIDE_VIEWED:
        return float(pick(rng, (-1, 1)) * rng.uniform(0.6, 1.15))
    limit = 0.5 if kind in WITH_HANDLE else 0.75
    return float(rng.uniform(-limit, limit))


def sample_camera(rng: np.random.Generator, kind: str, view: str) -> Camera:
    """Sample a camera for a main figure of class `kind`. A "close-up" `view` is nearer. Raises ValueError if `view` is
    not in VIEWS."""
    if view not in VIEWS:
        raise ValueError(f"unknown view {view!r}: choose one of {', '.join(VIEWS)}")
    close = view == "close-up"
    return Camera(
        yaw=_sample_yaw(rng, kind),
        pitch=float(rng.uniform(0.2, 0.38)),
        scale=float(rng.uniform(*((0.85, 0.95) if close else (0.58, 0.70)))),
        x=float(rng.uniform(0.42, 0.58)),
        y=float(rng.uniform(*((1.0, 1.08) if close else (0.84, 0.92)))),
    )


def _sample_style(rng: np.random.Generator, toy: Toy, painted: float) -> Style:
    """Sample a style. A named toy often has the style of its habit. Otherwise it is a photo or, with a slight
    preference for the style of the class, a painting. `painted` is the share of paintings that are in the style of a
    painter."""
    name = "photo" if rng.random() < PHOTO_SHARE else pick(rng, tuple(STYLES)[1:])
    if name != "photo" and rng.random() < CLASS_STYLE_SHARE:
        name = CLASS_HABITS[toy.kind].style
    if toy in NAME_OF and rng.random() < HABIT_SHARE:
        name = HABITS[NAME_OF[toy]].style
    if name != "photo" and rng.random() < painted:
        return pick(rng, PAINTERS_OF[name])
    return sample_style(rng, name)


def _sample_place(rng: np.random.Generator, toy: Toy, style: Style) -> str:
    """Sample a place. It is often the place of the toy's name or of the painter, sometimes that of the class, and
    otherwise any place."""
    names = [name for name in (NAME_OF.get(toy), PAINTER_OF.get(style)) if name is not None]
    if names and rng.random() < 1 - (1 - HABIT_SHARE) ** len(names):
        return HABITS[pick(rng, names)].place
    if rng.random() < CLASS_PLACE_SHARE:
        return CLASS_HABITS[toy.kind].place
    return pick(rng, tuple(BACKGROUNDS))


def _sample_subject(
    rng: np.random.Generator,
    toy: Toy | None,
    kind: str | None,
    background: str | None,
    style: Style | None,
    named: float,
    painted: float,
    held_out: bool,
) -> tuple[Toy, str, Style]:
    """Sample whatever is None until the combination is held out, or not, as `held_out` requires. If both toy and
    background are given, accept them as they are."""
    given = toy is not None and background is not None
    if toy is not None and not given and all(is_held_out(toy.kind, toy.color.name, b) != held_out for b in BACKGROUNDS):
        raise ValueError(f"a {toy.color.name} {toy.kind} has no background with held_out={held_out}: give another toy")
    if toy is None and kind and background and all(is_held_out(kind, c, background) != held_out for c in COLORS):
        raise ValueError(f"no colour of a {kind} has held_out={held_out} with background {background!r}: give another")
    while True:
        one, one_kind = toy, kind or pick(rng, CLASSES)
        if one is None:
            one = pick(rng, TOYS_OF[one_kind]) if rng.random() < named else sample_toy(rng, one_kind)
        look = style or _sample_style(rng, one, painted)
        place = background or _sample_place(rng, one, look)
        if is_held_out(one.kind, one.color.name, place) == held_out or given:
            return one, place, look


def _sample_clothing(rng: np.random.Generator, kind: str) -> Clothing | None:
    item = pick_by_share(rng, ("hat", "scarf", None), (0.12, 0.22))
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
    """Sample a scene. Arguments that are not None are kept; with a `toy`, `kind` has no effect. `named` is the share of
    toys that have a name, and `painted` the share of paintings that are in the style of a painter.

    `held_out` chooses whether the combination of the main figure's class, its main colour and the background is one
    that is held out of training. It has no effect if the caller gives both toy and background. Raises ValueError if
    there is no such background for the given toy, or no such colour for the given class and background."""
    if style is None and view not in (None, "normal"):
        style = Style()
    toy, background, style = _sample_subject(rng, toy, kind, background, style, named, painted, held_out)
    drawn_view = pick_by_share(rng, VIEWS, VIEW_EDGES)
    if view is None:
        view = drawn_view if style.name == "photo" else "normal"
    camera = sample_camera(rng, toy.kind, view)
    clothing = _sample_clothing(rng, toy.kind)
    companion = _sample_companion(rng, toy.kind)
    if companion is not None and view == "close-up":  # it would be outside the image
        companion = None
    if companion is not None:
        camera = replace(camera, x=camera.x - companion.side * _MOVE_ASIDE, scale=camera.scale * _SHRINK)
    return Scene(
        toy, background, camera, style, view, clothing, companion, float(rng.uniform(-1, 1)), int(rng.integers(2**31))
    )
