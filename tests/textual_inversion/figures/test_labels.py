"""Labels of points lie beside them, inside the axes, and not on each other."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from textual_inversion.figures.labels import label_points, overlap
from textual_inversion.figures.plots import figure

CROWD = [(0.72 + 0.004 * (i % 4), 0.51 + 0.004 * (i // 4)) for i in range(12)]
ALONE = [(0.57, 0.52)]


def labelled(points, taken=()):
    """Return the boxes of the labels [n, 4], of the axes, and of the markers [n, 4], in pixels."""
    with figure(3.3, 3.0) as fig:
        axes = fig.subplots()
        for x, y in points:
            axes.plot(x, y, marker="o", markersize=4)
        axes.margins(0.3)
        names = [f"setup {i}" for i in range(len(points))]
        label_points(axes, names, points, ["black"] * len(points), 6, taken)
        renderer = FigureCanvasAgg(fig).get_renderer()
        boxes = [text.get_window_extent(renderer).extents for text in axes.texts if text.get_text()]
        assert [text.get_text() for text in axes.texts if text.get_text()] == names
        places = axes.transData.transform(points)
        return np.array(boxes), axes.get_window_extent(renderer).extents, places, axes.transData


@pytest.mark.parametrize("points", [ALONE, CROWD, CROWD + ALONE])
def test_labels_cover_neither_each_other_nor_a_point_and_stay_inside(points):
    boxes, frame, places, _ = labelled(points)
    assert all(overlap(one, other[None])[0] == 0.0 for one, other in combinations(boxes, 2))
    for x, y in places:
        assert not ((boxes[:, :2] < (x, y)) & ((x, y) < boxes[:, 2:])).all(axis=1).any()
    assert (boxes[:, :2] >= frame[:2] - 0.5).all() and (boxes[:, 2:] <= frame[2:] + 0.5).all()


def test_a_point_alone_has_its_label_beside_it():
    boxes, _, places, _ = labelled(ALONE)
    nearest = np.clip(places[0], boxes[0, :2], boxes[0, 2:])
    assert np.linalg.norm(nearest - places[0]) < 12


def test_labels_keep_off_what_is_taken():
    free, _, _, data = labelled(ALONE)
    box = tuple(np.concatenate([data.inverted().transform(corner) for corner in (free[0, :2], free[0, 2:])]))
    kept, _, _, data = labelled(ALONE, [box])
    taken = data.transform([box[:2], box[2:]]).flatten()
    assert overlap(kept[0], taken[None])[0] == 0.0 and overlap(free[0], taken[None])[0] > 0.0


def test_the_shared_area_by_hand():
    others = np.array([[1.0, 1.0, 3.0, 4.0], [2.0, 0.0, 3.0, 1.0], [0.5, 0.5, 1.0, 1.5]])
    assert overlap(np.array([0.0, 0.0, 2.0, 2.0]), others).tolist() == [1.0, 0.0, 0.5]
