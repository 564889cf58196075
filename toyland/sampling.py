"""The distribution of Toyland: random colours, toys, cameras and whole scenes. Everything comes from the `rng`
handed in, so a seed fixes a scene. A fixed tenth of class x main colour x background is held out of training."""

import hashlib
from dataclasses import replace

import cv2
import numpy as np

from .attributes import (
    BACKGROUNDS,
    CLASSES,
    COLORS,
    COMPANIONS,
    HAIRS,
    PATTERNS,
    PROPORTIONS,
    SKINS,
    STYLES,
    VIEWS,
    WEARERS,
    Camera,
    Clothing,
    Color,
    Companion,
    Scene,
    Style,
    Toy,
)

DOCTOR_LOOK = ("pale", "gray")  # skin and hair of nine doctors in ten: the one deliberate bias, for the bias experiment
DOCTOR_BIAS = 0.9

SHADE_SHARE = 0.1  # of each shade; the plain name has the rest
COLOR_RADIUS = 22.0  # CIELAB; most named centres lie 30-40 from their nearest neighbour, so the ranges meet
_HUELESS = frozenset(("black", "gray", "white"))  # half the radius in hue: a pinkish gray is nobody's gray
_SHADES_OF = {"black": (), "white": (), "gray": ("pale", "dark")}  # nobody says "bright black"
_ALL_SHADES = ("pale", "dark", "bright")

SIDE_VIEWED = frozenset(("fish", "car", "duck", "elephant"))  # best known from the side
HANDLED = frozenset(("teapot", "mug"))  # turned so little that the handle stays in view

PATTERN_EDGES = (0.4, 0.6, 0.8)  # plain .4, the three others .2 each
VIEW_EDGES = (0.88, 0.92, 0.96)  # normal .88, the three others .04 each
_MOVE_ASIDE = 0.1  # how far the main figure moves, and
_SHRINK = 0.92  # how much it shrinks, to make room for a companion


def _pick(rng: np.random.Generator, options):
    """`rng.choice` without turning `options` into an array, which is ten times slower."""
    return options[rng.integers(len(options))]


def _split(rng: np.random.Generator, options, edges):
    return options[int(np.searchsorted(edges, rng.random(), side="right"))]


def lab(rgb) -> np.ndarray:
    """CIELAB of RGB 0-255, both [..., 3]: equal distances look about equally different."""
    rgb = np.asarray(rgb, np.float32) / 255
    return cv2.cvtColor(rgb.reshape(-1, 1, 3), cv2.COLOR_RGB2LAB).reshape(rgb.shape)


def _rgb(lab_values) -> np.ndarray:
    values = np.asarray(lab_values, np.float32)
    rgb = cv2.cvtColor(values.reshape(-1, 1, 3), cv2.COLOR_LAB2RGB).reshape(values.shape)
    return np.clip(rgb, 0, 1) * 255


_COLOR_NAMES = tuple(COLORS)
_CENTRES = lab(list(COLORS.values()))


def nearest_color_name(rgb) -> str:
    """The name of the nearest named centre in CIELAB, for RGB 0-255."""
    return _COLOR_NAMES[int(((_CENTRES - lab(rgb)) ** 2).sum(-1).argmin())]


def _plain_color(rng: np.random.Generator, name: str) -> np.ndarray:
    """CIELAB, uniform in the ball around the centre of `name`, without what lies nearer to another centre."""
    index = _COLOR_NAMES.index(name)
    radii = np.float32(COLOR_RADIUS) * np.array([1, 0.5, 0.5] if name in _HUELESS else [1, 1, 1], np.float32)
    while True:
        steps = rng.standard_normal((16, 3))
        steps *= rng.random((16, 1)) ** (1 / 3) / np.linalg.norm(steps, axis=-1, keepdims=True)
        near = lab(_rgb(_CENTRES[index] + radii * steps))  # there and back: colours of the screen only
        own = ((near[:, None] - _CENTRES) ** 2).sum(-1).argmin(-1) == index
        if own.any():
            return near[own.argmax()]


def _shaded(color: np.ndarray, shade: str, amount: float) -> np.ndarray:
    """Moves a CIELAB colour; `amount` in [0, 1] is how strong the shade is within what its word covers."""
    lightness, chroma = color[0], color[1:]
    if shade == "pale":
        k = 0.45 + 0.2 * amount
        return np.concatenate([[lightness + k * (96 - lightness)], chroma * (1 - k)])
    if shade == "dark":
        k = 0.5 + 0.2 * amount
        return np.concatenate([[lightness * k], chroma * (0.6 + 0.4 * k)])
    k = 0.25 + 0.2 * amount
    return np.concatenate([[lightness + k * max(72 - lightness, 12)], chroma * (1 + k)])


def sample_color(rng: np.random.Generator, name: str | None = None) -> Color:
    """A colour called `name` (any if None), drawn continuously from the range that the name covers, then shaded."""
    name = name or _pick(rng, _COLOR_NAMES)
    shades = _SHADES_OF.get(name, _ALL_SHADES)
    draw = int(rng.random() / SHADE_SHARE)
    shade = shades[draw] if draw < len(shades) else ""
    color = _plain_color(rng, name)
    if shade:
        color = _shaded(color, shade, rng.random())
    red, green, blue = (round(float(v), 2) for v in _rgb(color))
    return Color(name, shade, (red, green, blue))


def sample_toy(rng: np.random.Generator, kind: str | None = None) -> Toy:
    """A toy of class `kind` (any if None). Nothing is skewed but the doctors' skin and hair: see `DOCTOR_LOOK`."""
    kind = kind or _pick(rng, CLASSES)
    color = sample_color(rng)
    color2 = sample_color(rng, _pick(rng, [name for name in _COLOR_NAMES if name != color.name]))
    pattern = _split(rng, PATTERNS, PATTERN_EDGES)
    proportions = {name: round(float(rng.uniform(-1, 1)), 4) for name in PROPORTIONS}
    skin, hair = _pick(rng, tuple(SKINS)), _pick(rng, tuple(HAIRS))
    if kind == "doctor" and rng.random() < DOCTOR_BIAS:
        skin, hair = DOCTOR_LOOK
    return Toy(kind, color, color2, pattern, **proportions, skin=skin, hair=hair)


def _sample_yaw(rng: np.random.Generator, kind: str) -> float:
    if kind in SIDE_VIEWED:
        return float(_pick(rng, (-1, 1)) * rng.uniform(0.6, 1.15))
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


def sample_style(rng: np.random.Generator, name: str | None = None) -> Style:
    """A style of that name with random settings; any style if None, three in five of them photos. A photo has no
    settings."""
    if name is None:
        name = "photo" if rng.random() < 0.6 else _pick(rng, tuple(STYLES)[1:])
    if name == "photo":
        return Style()
    return Style(name, *(round(float(v), 4) for v in rng.uniform(-1, 1, 3)))


def is_held_out(kind: str, color_name: str, background: str) -> bool:
    """Whether this combination is kept out of training: a tenth of all, by a hash that no Python version changes."""
    digest = hashlib.blake2b(f"{kind} {color_name} {background}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 10 == 0


def _toy_and_background(rng, toy, kind, background, named, held_out) -> tuple[Toy, str]:
    """Draws what the caller left open until the combination is held out, or is not, as asked. All given: theirs."""
    from .names import TOYS_OF  # here, because `names` draws its toys with this module

    if toy is not None and background is not None:
        return toy, background
    if toy is not None:
        allowed = [b for b in BACKGROUNDS if is_held_out(toy.kind, toy.color.name, b) == held_out]
        if not allowed:
            raise ValueError(f"a {toy.color.name} {toy.kind} has no background with held_out={held_out}")
        return toy, _pick(rng, allowed)
    while True:
        one_kind = kind or _pick(rng, CLASSES)
        drawn = _pick(rng, TOYS_OF[one_kind]) if rng.random() < named else sample_toy(rng, one_kind)
        place = background or _pick(rng, tuple(BACKGROUNDS))
        if is_held_out(drawn.kind, drawn.color.name, place) == held_out:
            return drawn, place


def _sample_style_or_painter(rng: np.random.Generator, painted: float) -> Style:
    from .names import PAINTERS  # as above

    style = sample_style(rng)
    if style.name != "photo" and rng.random() < painted:
        return _pick(rng, tuple(PAINTERS.values()))
    return style


def _sample_clothing(rng: np.random.Generator, kind: str) -> Clothing | None:
    item = _split(rng, ("hat", "scarf", None), (0.12, 0.22))
    return Clothing(item, sample_color(rng)) if item and kind in WEARERS else None


def _sample_companion(rng: np.random.Generator, kind: str) -> Companion | None:
    if rng.random() >= 0.15:
        return None
    other = _pick(rng, [name for name in COMPANIONS if name != kind])
    toy = replace(sample_toy(rng, other), pattern="plain")
    return Companion(toy, int(_pick(rng, (-1, 1))), _sample_yaw(rng, other), float(rng.uniform(0, 0.35)))


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
    toy, background = _toy_and_background(rng, toy, kind, background, named, held_out)
    if style is None:
        style = Style() if view not in (None, "normal") else _sample_style_or_painter(rng, painted)
    drawn_view = _split(rng, VIEWS, VIEW_EDGES)
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
