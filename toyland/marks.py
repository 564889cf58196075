"""Build the marks on the bodies of toys: a belt, a sash, a star or a heart."""

from .attributes import BODY_MARKS, Marks
from .painting import Decal, Shape, bar, heart, star
from .parts import BodyPlan

# Half the width of a belt, in units of figure space, and that of a sash before it is multiplied by 1.3: a sloping band
# is thinner than it is high.
_BELT, _SASH = 0.036, 0.034
_UNLIMITED = 9.0


def body_decals(plan: BodyPlan, marks: Marks, grain: str) -> list[Decal]:
    """Return the decals of the body mark. `grain` as in `parts.Figure`. Raises ValueError if the mark is unknown."""
    scale, rgb = 1.14**marks.size, marks.color.rgb
    if marks.body == "none":
        return []
    if marks.body in ("star", "heart"):
        shape, (x, y, z) = {"star": star, "heart": heart}[marks.body], plan.centre
        y += 0.2 * plan.size * marks.place
        places = [((x, y, z), plan.turn), ((-x, y, z), -plan.turn)] if plan.turn else [((marks.side * x, y, z), 0.0)]
        return [Decal(plan.part_names, place, scale * plan.size, shape, rgb, turn) for place, turn in places]
    names, axis, slope = (plan.legs, "y", 0.45) if plan.legs else (plan.part_names, grain, 0.9)
    waist = plan.waist + 0.03 * marks.place
    # A band is projected along an axis at right angles to the grain.
    origin, turn = ((0.0, waist, 0.0), 0.0) if axis == "y" else ((0.0, plan.centre[1], waist), 1.5708)
    if marks.body == "belt":
        return [Decal(names, origin, 1.0, _band(_BELT * scale, 0.0, axis), rgb, turn, _UNLIMITED)]
    if marks.body != "sash":
        raise ValueError(f"unknown body mark {marks.body!r}: choose one of {', '.join(BODY_MARKS)}")
    return [Decal(names, origin, 1.0, _band(1.3 * _SASH * scale, slope * marks.side, axis), rgb, turn, _UNLIMITED)]


def _band(half: float, slope: float, grain: str) -> Shape:
    """Return a band at right angles to axis `grain`, with half width `half`, that rises by `slope`."""
    level = bar(-half, half, slope)
    return level if grain == "y" else lambda x, y: level(y, x)
