"""Labels beside the points of a plot, without overlaps. Written by hand, since adjustText is not a dependency."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_RADII = (6, 10, 16, 24, 34, 46, 60, 76)  # distances of a label from its point, in points (1/72 inch)
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)
_PASSES = 3
_TRIED = 8  # number of places for a label whose crossings are counted
_CLEAR = 3.5  # half the side of a marker, which labels and lines avoid, in points
_LINE = 12.0  # a label at a greater distance gets a line to its point
# Costs: a pixel outside, a covered pixel, a crossing, and another point being nearer. A pixel of distance costs 1.
_OUTSIDE, _COVERS, _CROSSES, _DOUBT = 50.0, 20.0, 300.0, 200.0


@dataclass(frozen=True, eq=False)
class Place:
    """A place for a label of a point, in pixels: its box (left, bottom, right, top) and its distance."""

    box: np.ndarray
    point: np.ndarray
    offset: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        return (self.box[:2] + self.box[2:]) / 2


def label_points(
    axes: Axes, names: Sequence[str], points: Sequence[tuple[float, float]], colors: Sequence[str], size: float,
    taken: Sequence[tuple[float, float, float, float]] = (),
) -> None:  # fmt: skip
    """Write each name beside its point (x, y in data), in letters of `size` points and in its color, and not over the
    boxes that are `taken` (left, bottom, right, top in data). All limits of the axes must be set before. The same
    points give the same labels."""
    figure = cast(Figure, axes.get_figure(root=True))
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # the layout decides how large the axes are
    dpi = figure.dpi / 72.0
    texts = [
        axes.annotate(name, point, (0, 0), textcoords="offset points", fontsize=size, color=color)
        for name, point, color in zip(names, points, colors, strict=True)
    ]
    sizes = [np.array(text.get_window_extent(renderer).size) for text in texts]
    pixels = axes.transData.transform(np.asarray(points, dtype=float))
    frame = np.asarray(axes.get_window_extent(renderer).extents)
    choices = [_places(point, extent, dpi) for point, extent in zip(pixels, sizes, strict=True)]
    boxes = [axes.transData.transform([box[:2], box[2:]]).flatten() for box in taken]
    for text, place in zip(texts, arrange(choices, frame, pixels, _CLEAR * dpi, boxes), strict=True):
        text.set_position(tuple(place.offset / dpi))
        text.set(ha="left", va="bottom")
        if np.linalg.norm(place.centre - place.point) > _LINE * dpi + (place.box[2] - place.box[0]) / 2:
            ends = axes.transData.inverted().transform([_nearest(place), place.point])
            line = {"arrowstyle": "-", "linewidth": 0.4, "color": "0.5", "shrinkA": 0, "shrinkB": 2}
            axes.annotate("", *ends, arrowprops=line)


def _places(point: np.ndarray, size: np.ndarray, dpi: float) -> list[Place]:
    """Return the places for a label of this size: around the point, the nearest first."""
    found = []
    for radius in _RADII:
        for angle in _ANGLES:
            direction = np.array([np.cos(angle), np.sin(angle)])
            offset = radius * dpi * direction + (direction - 1.0) / 2.0 * size
            found.append(Place(np.concatenate([point + offset, point + offset + size]), point, offset))
    return found


def arrange(
    choices: Sequence[Sequence[Place]], frame: np.ndarray, points: np.ndarray, clear: float, taken: Sequence[np.ndarray]
) -> list[Place]:
    """Choose one place for each label, so that labels stay in the `frame` (left, bottom, right, top), cover neither
    each other nor the `points` [n, 2] nor the boxes that are `taken`, and their lines do not cross. Labels are placed
    one by one, in several passes."""
    markers = np.hstack([points - clear, points + clear])
    chosen: list[Place] = [own[0] for own in choices]
    for _ in range(_PASSES):
        for i, own in enumerate(choices):
            others = [place for j, place in enumerate(chosen) if j != i]
            boxes = np.array([*taken, *np.delete(markers, i, axis=0), *(place.box for place in others)]).reshape(-1, 4)
            costs = _room(np.array([place.box for place in own]), points[i], boxes, frame, points)
            best = np.argsort(costs, kind="stable")[:_TRIED]  # counting crossings takes longer
            chosen[i] = own[min(best, key=lambda k: costs[k] + _CROSSES * _crossings(own[k], others, boxes))]
    return chosen


def _room(
    places: np.ndarray, point: np.ndarray, boxes: np.ndarray, frame: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Return the costs [k] of k places (boxes [k, 4]) for the label of a point: of the distance, of covering any of the
    `boxes` [n, 4], of leaving the frame, and of being nearer to another of the `points`."""
    outside = np.maximum(frame[:2] - places[:, :2], 0).sum(axis=1) + np.maximum(places[:, 2:] - frame[2:], 0).sum(
        axis=1
    )
    covered = overlap(places[:, None], boxes).sum(axis=1)
    beside = np.clip(points, places[:, None, :2], places[:, None, 2:])
    nearest = np.linalg.norm(beside - points, axis=2).min(axis=1)
    distance = np.linalg.norm(np.clip(point, places[:, :2], places[:, 2:]) - point, axis=1)
    return distance + _OUTSIDE * outside + _COVERS * covered + _DOUBT * (nearest < distance - 1e-9)


def _crossings(place: Place, others: Sequence[Place], boxes: np.ndarray) -> int:
    """Count what the label's line crosses, and the lines that cross the label."""
    line, lines = (place.point, _nearest(place)), [(other.point, _nearest(other)) for other in others]
    crossed = sum(_cross(line, other) for other in lines) + sum(_cuts(line, box) for box in boxes)
    return crossed + sum(_cuts(other, place.box) for other in lines)


def _nearest(place: Place) -> np.ndarray:
    """Return the point of the label that is nearest to its point."""
    return np.clip(place.point, place.box[:2], place.box[2:])


def overlap(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the areas that boxes (left, bottom, right, top) [..., 4] share with others; the shapes are broadcast."""
    sides = np.minimum(one[..., 2:], others[..., 2:]) - np.maximum(one[..., :2], others[..., :2])
    return np.prod(np.maximum(sides, 0.0), axis=-1)


def _cross(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    """Return whether two line segments cross."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = (point.tolist() for point in (*one, *other))

    def side(px: float, py: float, qx: float, qy: float, rx: float, ry: float) -> float:
        return (qx - px) * (ry - py) - (qy - py) * (rx - px)

    apart = side(ax, ay, bx, by, cx, cy) * side(ax, ay, bx, by, dx, dy) < 0
    return apart and side(cx, cy, dx, dy, ax, ay) * side(cx, cy, dx, dy, bx, by) < 0


def _cuts(line: Sequence[np.ndarray], box: np.ndarray) -> bool:
    """Return whether a line segment crosses a diagonal of a box."""
    return _cross(line, (box[:2], box[2:])) or _cross(line, (box[[0, 3]], box[[2, 1]]))
