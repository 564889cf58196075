"""Random colours, toys and styles: the distribution of what lasts from picture to picture. Everything comes from the
`rng` handed in, so a seed fixes a toy."""

from dataclasses import replace

import cv2
import numpy as np

from .attributes import (
    BODY_MARKS,
    CLASSES,
    COLORS,
    EYE_COLORS,
    EYE_SHAPES,
    HAIRS,
    MOUTHS,
    PATTERNS,
    PROPORTIONS,
    SKINS,
    STYLES,
    Color,
    Face,
    Marks,
    Style,
    Toy,
    face_marks,
)

DOCTOR_LOOK = ("pale", "gray")  # skin and hair of 70 doctors in 100: the one deliberate bias, for the bias experiment
COMMON_LOOK = 0.7
_LOOKS = tuple((skin, hair) for skin in SKINS for hair in HAIRS)

SHADE_SHARE = 0.1  # of each shade; the plain name has the rest
COLOR_RADIUS = 22.0  # CIELAB; most named centres lie 30-40 from their nearest neighbour, so the ranges meet
_HUELESS = frozenset(("black", "gray", "white"))  # half the radius in hue: a pinkish gray is nobody's gray
_SHADES_OF = {"black": (), "white": (), "gray": ("pale", "dark")}  # nobody says "bright black"
_ALL_SHADES = ("pale", "dark", "bright")

PATTERN_EDGES = (0.4, 0.6, 0.8)  # plain .4, the three others .2 each
UNMARKED = 0.25  # the share of faces without a mark, and of bodies
MARK_CONTRAST = 45.0  # CIELAB, of a mark from what it is painted on
_OTHER_GROUNDS = {"dog": "white", "doctor": "white", "mushroom": "cream"}  # painted on beside a toy's own colours


def pick(rng: np.random.Generator, options):
    """`rng.choice` without turning `options` into an array, which is ten times slower."""
    return options[rng.integers(len(options))]


def split(rng: np.random.Generator, options, edges):
    """One of `options`, whose shares end at `edges`."""
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
    name = name or pick(rng, _COLOR_NAMES)
    shades = _SHADES_OF.get(name, _ALL_SHADES)
    draw = int(rng.random() / SHADE_SHARE)
    shade = shades[draw] if draw < len(shades) else ""
    color = _plain_color(rng, name)
    if shade:
        color = _shaded(color, shade, rng.random())
    red, green, blue = (round(float(v), 2) for v in _rgb(color))
    return Color(name, shade, (red, green, blue))


def _fine(rng: np.random.Generator) -> float:
    return round(float(rng.uniform(-1, 1)), 4)


def _sample_face(rng: np.random.Generator) -> Face:
    said = pick(rng, tuple(EYE_COLORS)), pick(rng, EYE_SHAPES), pick(rng, MOUTHS)
    return Face(*said, _fine(rng), _fine(rng), _fine(rng), _fine(rng))


def mark_grounds(toy: Toy) -> list[tuple[float, float, float]]:
    """The colours, RGB 0-255, that a toy's marks are painted on."""
    other = _OTHER_GROUNDS.get(toy.kind)
    return [toy.color.rgb, toy.color2.rgb] + ([COLORS[other]] if other else [])


def contrasting(grounds) -> list[str]:
    """The names of all colours that stand out against `grounds`, RGB 0-255; of the one that does most if none does."""
    gaps = np.linalg.norm(_CENTRES[:, None] - lab(grounds), axis=-1).min(-1)
    return [name for name, gap in zip(_COLOR_NAMES, gaps, strict=True) if gap >= min(MARK_CONTRAST, gaps.max())]


def _sample_marks(rng: np.random.Generator, toy: Toy) -> Marks:
    face, body = ("none" if rng.random() < UNMARKED else pick(rng, m[1:]) if len(m) > 1 else "none"
                  for m in (face_marks(toy.kind), BODY_MARKS))  # fmt: skip
    name = pick(rng, contrasting(mark_grounds(toy)))
    return Marks(face, body, Color(name, "", COLORS[name]), int(pick(rng, (-1, 1))), _fine(rng), _fine(rng))


def sample_twin(rng: np.random.Generator, toy: Toy) -> Toy:
    """Another toy that every caption of `toy` fits as well: only its individuality is drawn anew."""
    phase = round(float(rng.random()), 4)
    return replace(
        toy, face=_sample_face(rng), marks=_sample_marks(rng, toy), phase=phase, pitch=_fine(rng), limbs=_fine(rng)
    )


def sample_look(rng: np.random.Generator) -> tuple[str, str]:
    """Skin and hair of a doctor: `COMMON_LOOK` of them `DOCTOR_LOOK`, the 15 others equally often."""
    return DOCTOR_LOOK if rng.random() < COMMON_LOOK else pick(rng, [look for look in _LOOKS if look != DOCTOR_LOOK])


def sample_toy(rng: np.random.Generator, kind: str | None = None) -> Toy:
    """A toy of class `kind` (any if None). Nothing is skewed but the doctors' skin and hair: see `DOCTOR_LOOK`."""
    kind = kind or pick(rng, CLASSES)
    color = sample_color(rng)
    color2 = sample_color(rng, pick(rng, [name for name in _COLOR_NAMES if name != color.name]))
    pattern = split(rng, PATTERNS, PATTERN_EDGES)
    proportions = {name: _fine(rng) for name in PROPORTIONS}
    skin, hair = sample_look(rng) if kind == "doctor" else pick(rng, _LOOKS)
    toy = Toy(kind, color, color2, pattern, skin=skin, hair=hair)
    return sample_twin(rng, replace(toy, **proportions))


def sample_style(rng: np.random.Generator, name: str | None = None) -> Style:
    """A style of that name with random settings; any style if None, three in five of them photos. A photo has no
    settings."""
    if name is None:
        name = "photo" if rng.random() < 0.6 else pick(rng, tuple(STYLES)[1:])
    if name == "photo":
        return Style()
    return Style(name, *(_fine(rng) for _ in range(3)))
