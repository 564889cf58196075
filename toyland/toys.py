"""Sample colours, toys and styles, which stay the same from image to image. All randomness comes from the `rng` that is
passed in, so a seed determines a toy."""

from dataclasses import replace

import cv2
import numpy as np

from .attributes import (
    BODY_MARKS,
    COLORS,
    EYE_COLORS,
    EYE_SHAPES,
    HAIRS,
    MOUTHS,
    PATTERNS,
    PROPORTIONS,
    SKINS,
    Color,
    Face,
    Marks,
    Style,
    Toy,
    face_marks,
)

DOCTOR_LOOK = ("pale", "gray")  # most frequent skin and hair of doctors, a deliberate bias for the bias experiment
COMMON_LOOK = 0.7  # share of doctors with this look
_LOOKS = tuple((skin, hair) for skin in SKINS for hair in HAIRS)

SHADE_SHARE = 0.1  # share of colours with each shade; the rest have none
COLOR_RADIUS = 22.0  # in CIELAB; the nearest other centre is 22 to 46 away, so most balls overlap
_HUELESS = frozenset(("black", "gray", "white"))  # half the radius in a and b, because nobody calls a pinkish gray gray
_SHADES_OF = {"black": (), "white": (), "gray": ("pale", "dark")}  # without phrases such as "bright black"
_ALL_SHADES = ("pale", "dark", "bright")

PATTERN_EDGES = (0.4, 0.6, 0.8)  # cumulative shares of PATTERNS: plain 0.4, the others 0.2 each
UNMARKED_SHARE = 0.25  # share of faces without a mark, and of bodies
MARK_CONTRAST = 45.0  # minimum CIELAB distance of a mark from the colours under it
_OTHER_GROUNDS = {"dog": "white", "doctor": "white", "mushroom": "cream"}  # besides a toy's own two colours


def pick(rng: np.random.Generator, options):
    """Return one of `options`, uniformly. `rng.choice` would convert them to an array, which is ten times slower."""
    return options[rng.integers(len(options))]


def pick_by_share(rng: np.random.Generator, options, edges):
    """Return one of `options`. `edges` holds their cumulative shares, without the last one, which is 1."""
    return options[int(np.searchsorted(edges, rng.random(), side="right"))]


def rgb_to_lab(rgb) -> np.ndarray:
    """Convert RGB 0-255 [..., 3] to CIELAB [..., 3], in which equal distances look about equally different."""
    rgb = np.asarray(rgb, np.float32) / 255
    return cv2.cvtColor(rgb.reshape(-1, 1, 3), cv2.COLOR_RGB2LAB).reshape(rgb.shape)


def _lab_to_rgb(lab) -> np.ndarray:
    """Convert CIELAB to RGB 0-255, both [..., 3]. Values outside of the range are clipped."""
    values = np.asarray(lab, np.float32)
    rgb = cv2.cvtColor(values.reshape(-1, 1, 3), cv2.COLOR_LAB2RGB).reshape(values.shape)
    return np.clip(rgb, 0, 1) * 255


_COLOR_NAMES = tuple(COLORS)
_CENTRES = rgb_to_lab(list(COLORS.values()))


def nearest_color_name(rgb) -> str:
    """Return the name of the colour in COLORS whose centre is nearest to `rgb` (0-255) in CIELAB."""
    return _COLOR_NAMES[int(((_CENTRES - rgb_to_lab(rgb)) ** 2).sum(-1).argmin())]


def _sample_plain_color(rng: np.random.Generator, name: str) -> np.ndarray:
    """Sample a CIELAB colour uniformly from the ball around the centre of `name`, except where another centre is
    nearer."""
    index = _COLOR_NAMES.index(name)
    radii = np.float32(COLOR_RADIUS) * np.array([1, 0.5, 0.5] if name in _HUELESS else [1, 1, 1], np.float32)
    while True:
        steps = rng.standard_normal((16, 3))
        steps *= rng.random((16, 1)) ** (1 / 3) / np.linalg.norm(steps, axis=-1, keepdims=True)
        # The way through RGB clips to colours that a screen can show.
        near = rgb_to_lab(_lab_to_rgb(_CENTRES[index] + radii * steps))
        own = ((near[:, None] - _CENTRES) ** 2).sum(-1).argmin(-1) == index
        if own.any():
            return near[own.argmax()]


def _apply_shade(color: np.ndarray, shade: str, amount: float) -> np.ndarray:
    """Apply `shade` to a CIELAB colour. `amount` in [0, 1] goes from the weakest to the strongest variant of the
    shade."""
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
    """Sample a colour from the continuous range of `name` (any name if None), then sometimes shade it."""
    name = name or pick(rng, _COLOR_NAMES)
    shades = _SHADES_OF.get(name, _ALL_SHADES)
    draw = int(rng.random() / SHADE_SHARE)
    shade = shades[draw] if draw < len(shades) else ""
    color = _sample_plain_color(rng, name)
    if shade:
        color = _apply_shade(color, shade, rng.random())
    red, green, blue = (round(float(v), 2) for v in _lab_to_rgb(color))
    return Color(name, shade, (red, green, blue))


def _uniform(rng: np.random.Generator) -> float:
    """Return a uniform value in [-1, 1], rounded to four decimals."""
    return round(float(rng.uniform(-1, 1)), 4)


def _sample_face(rng: np.random.Generator) -> Face:
    features = pick(rng, tuple(EYE_COLORS)), pick(rng, EYE_SHAPES), pick(rng, MOUTHS)
    return Face(*features, _uniform(rng), _uniform(rng), _uniform(rng), _uniform(rng))


def mark_grounds(toy: Toy) -> list[tuple[float, float, float]]:
    """Return the colours (RGB 0-255) from which a toy's marks must differ. The white eye rings of owls, the white
    muzzles of rabbits and the skin of doctors are not among them, so a pale mark can be faint there."""
    other = _OTHER_GROUNDS.get(toy.kind)
    return [toy.color.rgb, toy.color2.rgb] + ([COLORS[other]] if other else [])


def contrasting_colors(grounds) -> list[str]:
    """Return the names of all colours at least MARK_CONTRAST from each of `grounds` (RGB 0-255, [n, 3]). If there are
    none, return the one with the most contrast."""
    gaps = np.linalg.norm(_CENTRES[:, None] - rgb_to_lab(grounds), axis=-1).min(-1)
    return [name for name, gap in zip(_COLOR_NAMES, gaps, strict=True) if gap >= min(MARK_CONTRAST, gaps.max())]


def _sample_marks(rng: np.random.Generator, toy: Toy) -> Marks:
    face, body = ("none" if rng.random() < UNMARKED_SHARE else pick(rng, m[1:]) if len(m) > 1 else "none"
                  for m in (face_marks(toy.kind), BODY_MARKS))  # fmt: skip
    name = pick(rng, contrasting_colors(mark_grounds(toy)))
    return Marks(face, body, Color(name, "", COLORS[name]), int(pick(rng, (-1, 1))), _uniform(rng), _uniform(rng))


def sample_twin(rng: np.random.Generator, toy: Toy) -> Toy:
    """Return a toy with the same description as `toy` and a new individuality: face, marks, phase, pitch and limbs."""
    phase = round(float(rng.random()), 4)
    face, marks, pitch, limbs = _sample_face(rng), _sample_marks(rng, toy), _uniform(rng), _uniform(rng)
    return replace(toy, face=face, marks=marks, phase=phase, pitch=pitch, limbs=limbs)


def sample_look(rng: np.random.Generator) -> tuple[str, str]:
    """Sample skin and hair of a doctor: DOCTOR_LOOK with probability COMMON_LOOK, otherwise one of the 15 other
    looks."""
    return DOCTOR_LOOK if rng.random() < COMMON_LOOK else pick(rng, [look for look in _LOOKS if look != DOCTOR_LOOK])


def sample_toy(rng: np.random.Generator, kind: str) -> Toy:
    """Sample a toy of class `kind`. The looks of doctors are biased, see `DOCTOR_LOOK`; nothing else is."""
    color = sample_color(rng)
    color2 = sample_color(rng, pick(rng, [name for name in _COLOR_NAMES if name != color.name]))
    pattern = pick_by_share(rng, PATTERNS, PATTERN_EDGES)
    proportions = {name: _uniform(rng) for name in PROPORTIONS}
    skin, hair = sample_look(rng) if kind == "doctor" else pick(rng, _LOOKS)
    toy = Toy(kind, color, color2, pattern, skin=skin, hair=hair)
    return sample_twin(rng, replace(toy, **proportions))


def sample_style(rng: np.random.Generator, name: str) -> Style:
    """Sample settings of style `name`. A photo has none."""
    if name == "photo":
        return Style()
    return Style(name, *(_uniform(rng) for _ in range(3)))
