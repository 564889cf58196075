"""The solids that figures are built from. In figure space, the figure stands on y = 0 and is about 1 high; x points
right, y up and z towards the viewer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """An ellipsoid, or a cone with flat ends when `taper` is given.

    `radii` are the half axes, before the rotation Rz @ Ry @ Rx by the Euler angles `turn` = (x, y, z) in radians. The
    axis of a cone is y, and `taper` is its top radius divided by its bottom radius. `paint` names a colour of
    `figures.paints`: "main" has the pattern, "plain" is the same colour without it. Outlines separate parts only if
    their `name` differs.
    """

    name: str
    centre: Vector
    radii: Vector
    paint: str
    turn: Vector = (0.0, 0.0, 0.0)
    taper: float | None = None

    @property
    def patterned(self) -> bool:
        return self.paint == "main"


@dataclass(frozen=True)
class Anchor:
    """The place of a piece of clothing: the centre and the radius of the ring that it forms."""

    centre: Vector
    radius: float


@dataclass(frozen=True)
class Figure:
    """The parts of a figure and the places of its hat (`crown`) and scarf (`neck`). `grain` is the axis, "y" or "z", of
    its patterns: stripes are at right angles to it, spots and checks go round it."""

    parts: tuple[Part, ...]
    crown: Anchor | None = None
    neck: Anchor | None = None
    grain: str = "y"


def cone(name: str, base: Vector, tip: Vector, radius: float, taper: float, paint: str, depth: float = 1.0) -> Part:
    """Return a cone from `base`, where its radius is `radius`, to `tip`. `depth` scales its radius along the third
    axis."""
    dx, dy, dz = (t - b for b, t in zip(base, tip, strict=True))
    length = math.hypot(dx, dy, dz)
    x, y, z = ((b + t) / 2 for b, t in zip(base, tip, strict=True))
    turn = (math.asin(max(-1.0, min(1.0, dz / length))), 0.0, math.atan2(-dx, dy))
    return Part(name, (x, y, z), (radius, length / 2, radius * depth), paint, turn, taper)


def tube(name: str, path: Sequence[Vector], radii: tuple[float, float], paint: str) -> list[Part]:
    """Return a tube along `path` with round joints and ends. Its radius changes linearly from radii[0] to radii[1]."""
    steps = len(path) - 1
    radius = [radii[0] + (radii[1] - radii[0]) * i / steps for i in range(steps + 1)]
    joints = [Part(name, point, (r, r, r), paint) for point, r in zip(path, radius, strict=True)]
    return joints + [
        cone(name, path[i], path[i + 1], radius[i], radius[i + 1] / radius[i], paint) for i in range(steps)
    ]


def curve(start: Vector, pull: Vector, stop: Vector, steps: int = 5) -> list[Vector]:
    """Return `steps` + 1 points of the quadratic Bezier curve from `start` to `stop` with control point `pull`."""
    points = []
    for i in range(steps + 1):
        t = i / steps
        weights = ((1 - t) ** 2, 2 * t * (1 - t), t * t)
        axes = zip(start, pull, stop, strict=True)
        points.append(tuple(sum(w * p for w, p in zip(weights, axis, strict=True)) for axis in axes))
    return points


def grow(point: Vector, pivot: Vector, factor: float) -> Vector:
    """Return `point` after scaling its offset from `pivot` by `factor`."""
    x, y, z = (q + factor * (p - q) for p, q in zip(point, pivot, strict=True))
    return x, y, z


def grown(parts: list[Part], pivot: Vector, factor: float) -> list[Part]:
    """Return `parts`, scaled as one group about `pivot`."""
    return [
        Part(p.name, grow(p.centre, pivot, factor), grow(p.radii, (0, 0, 0), factor), p.paint, p.turn, p.taper)
        for p in parts
    ]


def pair(*parts: Part) -> list[Part]:
    """Return `parts` and their mirror images at -x."""
    mirrored = [
        Part(p.name, (-p.centre[0], *p.centre[1:]), p.radii, p.paint, (p.turn[0], -p.turn[1], -p.turn[2]), p.taper)
        for p in parts
    ]
    return [*parts, *mirrored]


def eyes(x: float, y: float, z: float, size: float) -> list[Part]:
    """Return a pair of shiny dark eyes. White rings make them visible on dark toys."""
    ring = Part("eye", (x, y, z - 0.2 * size), (1.35 * size, 1.6 * size, 0.7 * size), "white")
    ball = Part("eye", (x, y, z + 0.15 * size), (size, 1.25 * size, 0.6 * size), "dark")
    spot = 0.36 * size
    glint = Part("eye", (x + 0.3 * size, y + 0.5 * size, z + 0.6 * size), (spot, spot, spot), "white")
    other = Part("eye", (-x + 0.3 * size, *glint.centre[1:]), glint.radii, "white")
    return [*pair(ring, ball), glint, other]
