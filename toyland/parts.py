"""The solids that figures are built from. In figure space, the figure stands on y = 0 and is about 1 high; x points
right, y up and z towards the viewer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """An ellipsoid, or a cone with flat ends when `taper` is given.

    `radii` are the half axes (of a cone: its bottom radius in x, half its length, its bottom radius in z), before the
    rotation Rz @ Ry @ Rx by the Euler angles `turn` = (x, y, z) in radians. The axis of a cone is y, and `taper` is its
    top radius divided by its bottom radius. `paint` names a colour of `figures.paints`: "main" has the pattern, "plain"
    is the same colour without it. Outlines separate parts only if
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
class FacePlan:
    """The place of a face on a figure, in figure space.

    `eye` is the centre of the eye at x > 0 and `size` its radius; it faces the z axis turned outwards by `turn`
    radians. Mouth and marks are painted on the parts whose name is in `skin`. `mouth` is the centre of the mouth, or
    None if it has none; if it is not at x = 0, there are two mirrored mouths. `breadth` is half the width of the mouth,
    `mouth_turn` its turn, and `ground` the paint under it. `lid` is the paint of the eyelids, and `rim` the width of
    rings around the eyes in units of `size`.
    """

    eye: Vector
    turn: float
    size: float
    skin: tuple[str, ...]
    mouth: Vector | None = None
    breadth: float = 0.07
    mouth_turn: float = 0.0
    ground: str = "main"
    lid: str = "main"
    rim: float = 0.55

    def scale(self, pivot: Vector, factor: float) -> "FacePlan":
        """Return the plan for a head that is scaled about `pivot`."""
        mouth = None if self.mouth is None else scale_point(self.mouth, pivot, factor)
        sizes = {"size": self.size * factor, "breadth": self.breadth * factor}
        return replace(self, eye=scale_point(self.eye, pivot, factor), mouth=mouth, **sizes)


@dataclass(frozen=True)
class BodyPlan:
    """The place of a body mark on a figure, in figure space.

    Marks are painted on the parts in `part_names`. A star or heart has centre `centre` and radius `size`. It
    faces the z axis turned by `turn` radians; if `turn` is not 0, there are two mirrored ones. `waist` is the position
    of a belt or sash on the grain axis. If `legs` is not empty, because the head hides the body, belt and sash are
    painted on the parts named there, at height `waist`.
    """

    part_names: tuple[str, ...]
    centre: Vector
    size: float
    waist: float
    turn: float = 0.0
    legs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """The parts of a figure and the places of its marks, face, hat (`crown`) and scarf (`neck`). `grain` is the axis,
    "y" or "z", of its patterns: stripes are at right angles to it, spots and checks go round it."""

    parts: tuple[Part, ...]
    body: BodyPlan
    face: FacePlan | None = None
    crown: Anchor | None = None
    neck: Anchor | None = None
    grain: str = "y"


def cone(name: str, base: Vector, tip: Vector, radius: float, taper: float, paint: str, depth: float = 1.0) -> Part:
    """Return a cone from `base`, where its radius is `radius`, to `tip`. `depth` scales its radius along its
    own z axis."""
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


def scale_point(point: Vector, pivot: Vector, factor: float) -> Vector:
    """Return `point` after scaling its offset from `pivot` by `factor`."""
    x, y, z = (q + factor * (p - q) for p, q in zip(point, pivot, strict=True))
    return x, y, z


def scale_parts(parts: list[Part], pivot: Vector, factor: float) -> list[Part]:
    """Return `parts`, scaled as one group about `pivot`."""
    return [
        replace(p, centre=scale_point(p.centre, pivot, factor), radii=scale_point(p.radii, (0, 0, 0), factor))
        for p in parts
    ]


def pair(*parts: Part) -> list[Part]:
    """Return `parts` and their mirror images at -x."""
    mirrored = [
        Part(p.name, (-p.centre[0], *p.centre[1:]), p.radii, p.paint, (p.turn[0], -p.turn[1], -p.turn[2]), p.taper)
        for p in parts
    ]
    return [*parts, *mirrored]


def on_ball(centre: Vector, radii: Vector, x: float, y: float) -> tuple[Vector, float]:
    """Return the point at (x, y) on the front of an ellipsoid, and the angle in radians by which its normal is turned
    from z about the vertical."""
    (cx, cy, cz), (rx, ry, rz) = centre, radii
    dx, dy = (x - cx) / rx, (y - cy) / ry
    dz = math.sqrt(max(1 - dx * dx - dy * dy, 0.0))
    return (x, y, cz + rz * dz), math.atan2(dx / rx, dz / rz)
