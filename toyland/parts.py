"""The solids that figures are built of. Figure space: foot on y = 0, height about 1, x right, y up, z to the viewer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """An ellipsoid, or a cone with flat ends when `taper` is given.

    `radii` are the half axes before `turn`, the Euler angles (x, y, z) in radians of Rz @ Ry @ Rx. A cone's axis is y,
    `taper` its top radius over its bottom radius. `paint` names a colour, see `figures.paints`; "main" carries the
    pattern, "plain" is the same colour without it. Parts of one `name` have no outline between them.
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
    """Where clothing sits: the middle of its ring and the ring's radius."""

    centre: Vector
    radius: float


@dataclass(frozen=True)
class FacePlan:
    """Where a figure's face is: the middle of its `eye` at x > 0, whose radius is `size` and which looks along z turned
    outwards by `turn`; the parts called `skin`, on which mouth and marks are painted; the middle of the `mouth`, None
    if there is none (two mirrored ones if it is not at x = 0), half its `breadth`, its own turn, and the paint under
    it. `lid` is the paint of the eyelids, `rim` how
    wide rings around the eyes are, in units of `size`."""

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

    def grown(self, pivot: Vector, factor: float) -> "FacePlan":
        """The face of a head scaled about `pivot`."""
        mouth = None if self.mouth is None else grow(self.mouth, pivot, factor)
        sizes = {"size": self.size * factor, "breadth": self.breadth * factor}
        return replace(self, eye=grow(self.eye, pivot, factor), mouth=mouth, **sizes)


@dataclass(frozen=True)
class BodyPlan:
    """Where a figure's body has its mark, on the parts called `on`: a star around `centre`, looking along z turned by
    `turn` (then there are two mirrored ones), of the radius `size`; a belt around `waist`, a place on the grain
    axis; where something hides the body, around the parts called `legs` instead, at the height `waist`."""

    on: tuple[str, ...]
    centre: Vector
    size: float
    waist: float
    turn: float = 0.0
    legs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """Parts and anchors. `grain` is the axis, "y" or "z", that stripes cross and that spots and checks go round."""

    parts: tuple[Part, ...]
    body: BodyPlan
    face: FacePlan | None = None
    crown: Anchor | None = None
    neck: Anchor | None = None
    grain: str = "y"


def cone(name: str, base: Vector, tip: Vector, radius: float, taper: float, paint: str, depth: float = 1.0) -> Part:
    """A cone from `base`, where it has `radius`, to `tip`; `depth` flattens it along its third axis."""
    dx, dy, dz = (t - b for b, t in zip(base, tip, strict=True))
    length = math.hypot(dx, dy, dz)
    x, y, z = ((b + t) / 2 for b, t in zip(base, tip, strict=True))
    turn = (math.asin(max(-1.0, min(1.0, dz / length))), 0.0, math.atan2(-dx, dy))
    return Part(name, (x, y, z), (radius, length / 2, radius * depth), paint, turn, taper)


def tube(name: str, path: Sequence[Vector], radii: tuple[float, float], paint: str) -> list[Part]:
    """A smooth pipe along `path` with round joints and ends, its radius going evenly from radii[0] to radii[1]."""
    steps = len(path) - 1
    radius = [radii[0] + (radii[1] - radii[0]) * i / steps for i in range(steps + 1)]
    joints = [Part(name, point, (r, r, r), paint) for point, r in zip(path, radius, strict=True)]
    return joints + [
        cone(name, path[i], path[i + 1], radius[i], radius[i + 1] / radius[i], paint) for i in range(steps)
    ]


def curve(start: Vector, pull: Vector, stop: Vector, steps: int = 5) -> list[Vector]:
    """steps + 1 points of the quadratic Bezier curve from `start` to `stop`."""
    points = []
    for i in range(steps + 1):
        t = i / steps
        weights = ((1 - t) ** 2, 2 * t * (1 - t), t * t)
        axes = zip(start, pull, stop, strict=True)
        points.append(tuple(sum(w * p for w, p in zip(weights, axis, strict=True)) for axis in axes))
    return points


def grow(point: Vector, pivot: Vector, factor: float) -> Vector:
    """`point` moved `factor` times as far from `pivot`."""
    x, y, z = (q + factor * (p - q) for p, q in zip(point, pivot, strict=True))
    return x, y, z


def grown(parts: list[Part], pivot: Vector, factor: float) -> list[Part]:
    """`parts` as one rigid group, scaled about `pivot`."""
    return [
        Part(p.name, grow(p.centre, pivot, factor), grow(p.radii, (0, 0, 0), factor), p.paint, p.turn, p.taper)
        for p in parts
    ]


def pair(*parts: Part) -> list[Part]:
    """`parts` and their mirror images on the other side of x = 0."""
    mirrored = [
        Part(p.name, (-p.centre[0], *p.centre[1:]), p.radii, p.paint, (p.turn[0], -p.turn[1], -p.turn[2]), p.taper)
        for p in parts
    ]
    return [*parts, *mirrored]


def on_ball(centre: Vector, radii: Vector, x: float, y: float) -> tuple[Vector, float]:
    """The point at (x, y) on the front of an ellipsoid, and how far its normal is turned from z."""
    (cx, cy, cz), (rx, ry, rz) = centre, radii
    dx, dy = (x - cx) / rx, (y - cy) / ry
    dz = math.sqrt(max(1 - dx * dx - dy * dy, 0.0))
    return (x, y, cz + rz * dz), math.atan2(dx / rx, dz / rz)
