"""Paint on solids: patterns, which go round a figure, and decals, which are flat shapes projected onto some parts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import cos, sin

import numpy as np

from .parts import Vector

RGB = tuple[float, float, float]
Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]  # x, y [N] -> whether each point is inside, bool [N]


@dataclass(frozen=True)
class Decal:
    """A flat shape that is projected onto the parts in `part_names`.

    In the plane of `shape`, x points right and y up, seen from outside; its origin is at `origin` in figure space, and
    its unit is `size`. The plane faces the z axis turned by `turn` radians about the vertical. Only points at most
    `depth` behind the plane are painted. `in_face` says whether the decal belongs to a face.
    """

    part_names: tuple[str, ...]
    origin: Vector
    size: float
    shape: Shape
    rgb: RGB
    turn: float = 0.0
    depth: float = 0.12
    in_face: bool = False

    @cached_property
    def axes(self) -> np.ndarray:
        """The rotation [3, 3] from figure space to the space of the decal."""
        c, s = cos(self.turn), sin(self.turn)
        return np.array(((c, 0, -s), (0, 1, 0), (s, 0, c)), np.float32)

    def covers(self, p: np.ndarray) -> np.ndarray:
        """Return which of the positions `p` [3, N] in figure space are painted, bool [N]."""
        x, y, z = self.axes @ (p - np.array(self.origin, np.float32)[:, None])
        return self.shape(x / np.float32(self.size), y / np.float32(self.size)) & (z > -self.depth)


def disc(x0: float, y0: float, rx: float, ry: float | None = None) -> Shape:
    """Return an ellipse with centre (x0, y0) and radii `rx` and `ry`. It is a circle if `ry` is None."""
    wide, high = np.float32(1 / rx), np.float32(1 / (ry or rx))
    return lambda x, y: np.square((x - np.float32(x0)) * wide) + np.square((y - np.float32(y0)) * high) < 1


def ring(rx: float, ry: float, width: float) -> Shape:
    """Return a ring around the ellipse with radii `rx` and `ry`."""
    inner, outer = disc(0, 0, rx, ry), disc(0, 0, rx + width, ry + width)
    return lambda x, y: outer(x, y) & ~inner(x, y)


def bar(low: float, high: float, slope: float = 0.0) -> Shape:
    """Return a band that lies between heights `low` and `high` at x = 0 and rises by `slope`."""
    return lambda x, y: np.abs(y - np.float32(slope) * x - np.float32((low + high) / 2)) < (high - low) / 2


def star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A star whose five points lie on the unit circle. One points up."""
    fifth = np.float32(2 * np.pi / 5)
    angle = np.abs((np.arctan2(x, y) + fifth / 2) % fifth - fifth / 2)  # to the nearest point of the star
    radius = np.hypot(x, y)
    # An edge joins a point at radius 1 and a notch at radius 0.5, a tenth of a turn further.
    notch_x, notch_y = 0.5 * sin(fifth / 2), 0.5 * cos(fifth / 2)
    across, along = radius * np.sin(angle), radius * np.cos(angle)
    return across * (1 - notch_y) < notch_x * (1 - along)


def heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A heart about as large as the unit circle."""
    x, y = 1.2 * x, 1.2 * y + np.float32(0.1)
    square = x * x
    return (square + y * y - 1) ** 3 < square * y**3


def pattern(name: str, p: np.ndarray, grain: str, phase: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """Return which of the positions `p` [3, N] in figure space have the second colour, bool [N]. `grain` as in
    `parts.Figure`. `phase` shifts pattern `name` by this fraction of a period; `pitch` in [-1, 1] makes it finer or
    wider. The patterns are coarse enough for images of 128 pixels. Raises ValueError for another `name`."""
    x, y, z = p
    scale = np.float32(1.22**pitch)
    along = (y if grain == "y" else z) / scale
    if name == "striped":
        return np.sin(along * np.float32(2 * np.pi / 0.19) + np.float32(2 * np.pi * phase + 0.6)) > 0.1
    turn = (np.arctan2(x, z) if grain == "y" else np.arctan2(x, y - np.float32(0.3))) / np.float32(2 * np.pi)
    around = 8 if pitch > 0 else 10  # even numbers, so that spots and checks meet at the back
    if name == "checkered":
        return (np.floor(turn * around + np.float32(phase)) + np.floor(along / np.float32(0.14) + phase)) % 2 > 0.5
    if name != "spotted":
        raise ValueError(f"unknown pattern {name!r}: choose striped, spotted or checkered")
    row = along / np.float32(0.165) + np.float32(0.3 + phase)
    place = turn * around + np.floor(row) % 2 / 2 + np.float32(phase)
    return np.square(place - np.floor(place) - 0.5) + np.square(row - np.floor(row) - 0.5) < 0.11
