"""Build faces: eyes are solids with painted irises; mouths and face marks are decals. Captions mention none of them."""

from math import cos, sin

import numpy as np

from .attributes import EYE_COLORS, MOUTHS, Face, Marks
from .painting import RGB, Decal, Shape, disc, ring
from .parts import FacePlan, Part, Vector

WHITE, INK, PINK, MAROON = (250, 249, 246), (44, 38, 42), (240, 120, 140), (110, 28, 40)
# Half width and half height of an eye, in units of `FacePlan.size`, then of iris and pupil, in units of the eye.
_EYES = {
    "round": ((1.0, 1.05), (0.68, 0.66), (0.38, 0.37)),
    "tall": ((0.92, 1.42), (0.72, 0.6), (0.42, 0.36)),
    "almond": ((1.34, 0.88), (0.54, 0.84), (0.28, 0.44)),
    "sleepy": ((1.08, 1.05), (0.68, 0.68), (0.38, 0.38)),
    "button": ((0.88, 0.92), (0.84, 0.84), (0.01, 0.01)),
}
_DEPTH = 0.4  # half depth of an eye, in units of `FacePlan.size`
IN_PROFILE = 0.6  # if `FacePlan.turn` is larger, only one eye is visible at a time, so a patch is on both


def place_eye(plan: FacePlan, face: Face, side: int) -> tuple[Vector, float, float]:
    """Return centre, turn (radians) and radius of the eye on `side` 1 (x > 0) or -1."""
    (x, y, z), size = plan.eye, plan.size * 1.13**face.size
    apart, up = 0.16 * face.gap * plan.size, 0.28 * face.height * plan.size
    eye = (side * (x + apart * cos(plan.turn)), y + up, z - apart * sin(plan.turn))
    return eye, side * plan.turn, size


def eye_name(side: int) -> str:
    """Return the part name of the eye on `side`."""
    return "right eye" if side > 0 else "left eye"


def eye_parts(plan: FacePlan, face: Face) -> list[Part]:
    """Return the two eyes as solids."""
    (wide, high), _, _ = _EYES[face.eyes]
    parts = []
    for side in (1, -1):
        centre, turn, size = place_eye(plan, face, side)
        radii = (wide * size, high * size, _DEPTH * size)
        parts.append(Part(eye_name(side), centre, radii, "white", (0, turn, 0)))
    return parts


def face_decals(plan: FacePlan, face: Face, marks: Marks, ground: RGB, lid: RGB) -> list[Decal]:
    """Return the decals of marks, mouth and eyes, in painting order. `ground` is the colour under the mouth, `lid` that
    of the eyelids."""
    decals = _mark_decals(plan, face, marks) + _mouth_decals(plan, face, ground)
    for side in (1, -1):
        decals += _eye_decals(plan, face, side, lid)
    return decals


def _eye_decals(plan: FacePlan, face: Face, side: int, lid: RGB) -> list[Decal]:
    (wide, high), iris, pupil = _EYES[face.eyes]
    origin, turn, size = place_eye(plan, face, side)

    def decal(shape: Shape, rgb: RGB) -> Decal:
        def eye_shape(x, y):
            return shape(x / wide, y / high)

        return Decal((eye_name(side),), origin, size, eye_shape, rgb, turn, depth=size, in_face=True)

    white = disc(0, 0, 0.88)
    decals = [decal(lambda x, y: ~white(x, y), INK)] if face.eyes != "button" else []
    decals += [decal(disc(0, 0, *iris), EYE_COLORS[face.eye_color]), decal(disc(0, 0, *pupil), INK)]
    if face.eyes == "sleepy":
        decals.append(decal(disc(0.26, -0.16, 0.2), WHITE))
        decals += [decal(_lid(0.12, side), INK), decal(_lid(0.3, side), lid)]
    else:
        decals.append(decal(disc(0.3, 0.36, 0.26 / wide, 0.26 / high), WHITE))
    return decals


def _mouth_decals(plan: FacePlan, face: Face, ground: RGB) -> list[Decal]:
    if plan.mouth is None:
        return []
    line = INK if sum(ground) > 240 else WHITE
    layers = mouth_layers(face.mouth, line)
    breadth, (x, y, z) = plan.breadth * 1.16**face.width, plan.mouth
    places = [((x, y, z), plan.mouth_turn)]
    if x:
        places.append(((-x, y, z), -plan.mouth_turn))
    return [Decal(plan.skin, place, breadth, shape, rgb, turn, in_face=True)
            for place, turn in places for shape, rgb in layers]  # fmt: skip


def mouth_layers(name: str, line: RGB) -> list[tuple[Shape, RGB]]:
    """Return (shape, colour) of each layer of mouth `name`, in painting order. `line` is the colour of its outline. The
    unit of the shapes is half the width of the mouth. Raises ValueError for an unknown mouth."""
    if name == "smile":
        return [(_smile, line)]
    if name == "teeth":
        return [(_tooth(0.52, -0.92), line), (_tooth(0.34, -0.74), WHITE), (_flat_smile, line)]
    if name == "oh":
        return [(disc(0, -0.1, 0.55, 0.66), line), (disc(0, -0.14, 0.33, 0.4), MAROON)]
    if name == "tongue":
        return [(disc(0.14, -0.52, 0.46, 0.66), PINK), (_smile, line)]
    if name != "grin":
        raise ValueError(f"unknown mouth {name!r}: choose one of {', '.join(MOUTHS)}")
    return [(_bowl(1.0, 0.3, -1.0), line), (_bowl(0.84, 0.14, -0.8), MAROON), (_teeth, WHITE)]


def _smile(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.abs(y - np.float32(0.6) * x * x + np.float32(0.3)) < 0.2) & (np.abs(x) < 1)


def _flat_smile(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.abs(y - np.float32(0.25) * x * x + np.float32(0.05)) < 0.17) & (np.abs(x) < 1)


def _tooth(half: float, bottom: float) -> Shape:
    return lambda x, y: (np.abs(x) < half) & (y > bottom) & (y < 0)


def _lid(height: float, side: int) -> Shape:
    """Return the area that an eyelid covers. It reaches lower on the outer side, because otherwise the eye would
    frown."""
    return lambda x, y: y > height - np.float32(0.18 * side) * x


def _bowl(wide: float, top: float, bottom: float) -> Shape:
    """Return the lower half of an oval, below the height `top`."""
    oval = disc(0, top, wide, top - bottom)
    return lambda x, y: oval(x, y) & (y < top)


def _teeth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _bowl(0.84, 0.14, -0.8)(x, y) & (y > -0.16)


def _mark_decals(plan: FacePlan, face: Face, marks: Marks) -> list[Decal]:
    scale, rgb = 1.1**marks.size, marks.color.rgb
    (wide, high), _, _ = _EYES[face.eyes]
    decals = []
    for side in (1, -1):
        origin, turn, size = place_eye(plan, face, side)
        if marks.face == "rings":
            shape = ring(0.95 * wide, 0.95 * high, plan.rim * scale)
        elif marks.face == "patch" and (side == marks.side or plan.turn > IN_PROFILE):
            shape = disc(0.1 * side, 0, (0.85 + wide) * scale, (0.95 + high) * scale)
        elif marks.face == "cheeks":
            shape = disc(0.75 * side, -2.1, 0.85 * scale, 0.7 * scale)
        else:
            continue
        names = (*plan.skin, "eye ring")
        decals.append(Decal(names, origin, size, shape, rgb, turn, depth=2.5 * size, in_face=True))
    if marks.face == "blaze":
        (_, y, z), _, size = place_eye(plan, face, 1)
        decals.append(Decal(plan.skin, (0, y, z), size, disc(0, 1.4, 0.62 * scale, 2.4), rgb, in_face=True))
    return decals
