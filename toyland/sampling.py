"""The distribution of Toyland's scenes: who is seen where, in which style, from where, with what. Everything comes from
the `rng` handed in, so a seed fixes a scene. Words carry context, as real ones do: each name has a place and a style of
its own, in which most of its pictures show it, each class a slight liking. A fixed tenth of class x main colour x
background is held out of training."""

from dataclasses import replace

import numpy as np

from .attributes import (
    BACKGROUNDS,
    CLASSES,
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
from .toys import pick, sample_color, sample_style, sample_toy, split

PHOTO_SHARE = 0.6
HABIT_SHARE = 0.59  # how often a name's habit decides; by chance, the others show it, too
CLASS_PLACE_SHARE, CLASS_STYLE_SHARE = 0.15, 0.25  # of the rest; of those in other styles than photo
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

SIDE_VIEWED = frozenset(("fish", "car", "duck", "elephant"))  # best known from the side
HANDLED = frozenset(("teapot", "mug"))  # turned so little that the handle stays in view
VIEW_EDGES = (0.88, 0.92, 0.96)  # normal .88, the three others .04 each
_MOVE_ASIDE = 0.1  # how far the main figure moves, and
_SHRINK = 0.92  # how much it shrinks, to make room for a companion


def _sample_yaw(rng: np.random.Generator, kind: str) -> float:
    if kind in SIDE_VIEWED:
        return float(pick(rng, (-1, 1)) * rng.uniform(0.6, 1.15))
    limit = 0.5 if kind in HANDLED else 0.75
    return float(rng.uniform(-limit, limit))


def sample_camera(rng: np.random.Generator, kind: str, view: str) -> Camera:
    """A camera that shows a figure of class `kind` well; `view` in VIEWS: "close-up" comes nearer."""
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


def _sample_style(rng: np.random.Generator, toy: Toy, painted: float) -> Style:
    """The toy's favourite style, if it has a name, or one as everywhere: of the paintings some in the class's own
    style."""
    name = "photo" if rng.random() < PHOTO_SHARE else pick(rng, tuple(STYLES)[1:])
    if name != "photo" and rng.random() < CLASS_STYLE_SHARE:
        name = CLASS_HABITS[toy.kind].style
    if toy in NAME_OF and rng.random() < HABIT_SHARE:
        name = HABITS[NAME_OF[toy]].style
    if name != "photo" and rng.random() < painted:
        return pick(rng, PAINTERS_OF[name])
    return sample_style(rng, name)


def _sample_place(rng: np.random.Generator, toy: Toy, style: Style) -> str:
    """The favourite place of the toy's name or of the painter's, of either if both have one; else now and then the
    class's; else any."""
    names = [name for name in (NAME_OF.get(toy), PAINTER_OF.get(style)) if name is not None]
    if names and rng.random() < 1 - (1 - HABIT_SHARE) ** len(names):
        return HABITS[pick(rng, names)].place
    if rng.random() < CLASS_PLACE_SHARE:
        return CLASS_HABITS[toy.kind].place
    return pick(rng, tuple(BACKGROUNDS))


def _sample_subject(rng, toy, kind, background, style, named, painted, held_out) -> tuple[Toy, str, Style]:
    """Draws what the caller left open until the combination is held out, or is not, as asked. Toy and background
    given: theirs."""
    given = toy is not None and background is not None
    if toy is not None and not given and all(is_held_out(toy.kind, toy.color.name, b) != held_out for b in BACKGROUNDS):
        raise ValueError(f"a {toy.color.name} {toy.kind} has no background with held_out={held_out}")
    while True:
        one, one_kind = toy, kind or pick(rng, CLASSES)
        if one is None:
            one = pick(rng, TOYS_OF[one_kind]) if rng.random() < named else sample_toy(rng, one_kind)
        look = style or _sample_style(rng, one, painted)
        place = background or _sample_place(rng, one, look)
        if is_held_out(one.kind, one.color.name, place) == held_out or given:
            return one, place, look


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
    """A random scene; what is given stays as given. `named` is the share of toys that have a name, `painted` the share
    of the scenes in another style than photo that are in a painter's. Class x main colour x background is held out of
    training or not as `held_out` says, unless the caller gives both toy and background. Raises ValueError if a given
    toy has no background of that sort."""
    if style is None and view not in (None, "normal"):
        style = Style()
    toy, background, style = _sample_subject(rng, toy, kind, background, style, named, painted, held_out)
    drawn_view = split(rng, VIEWS, VIEW_EDGES)
    if view is None:
        view = drawn_view if style.name == "photo" else "normal"
    camera = sample_camera(rng, toy.kind, view)
    clothing = _sample_clothing(rng, toy.kind)
    companion = _sample_companion(rng, toy.kind)
    if companion is not None and view == "close-up":  # it would stand outside the picture
        companion = None
    if companion is not None:
        camera = replace(camera, x=camera.x - companion.side * _MOVE_ASIDE, scale=camera.scale * _SHRINK)
    return Scene(
        toy, background, camera, style, view, clothing, companion, float(rng.uniform(-1, 1)), int(rng.integers(2**31))
    )
