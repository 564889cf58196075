"""Every figure becomes a PNG with something in it and a PDF, and the same numbers the same files."""

import math

import numpy as np
import pytest
from PIL import Image

from textual_inversion.evaluation.claims import Interval
from textual_inversion.figures.plots import COLORS, MARKERS, bar_plot, figure, line_plot, save, scatter_plot
from textual_inversion.figures.sheets import PictureRow, save_figure

NEAR = Interval(0.5, 0.4, 0.6)
OPEN = Interval(0.3, -math.inf, math.inf)  # of too few concepts


def pictures(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


DRAWN = {
    "scatter": lambda path: scatter_plot(
        path, {"one": (NEAR, NEAR), "few": (OPEN, NEAR)}, "editability", "reconstruction"
    ),
    "scatter_of_many": lambda path: scatter_plot(
        path, {str(i): (NEAR, Interval(i, i, i)) for i in range(20)}, "x", "y"
    ),
    "scatter_and_from_near": lambda path: scatter_plot(
        path, {"a": (NEAR, NEAR), "b": (NEAR, NEAR)}, "x", "y", apart=["b"]
    ),
    "lines": lambda path: line_plot(
        path, {"loss": {"a": {1: NEAR, 5: OPEN}, "b": {5: NEAR}}, "text": {"a": {1: NEAR}}}, "n"
    ),
    "lines_over_decades": lambda path: line_plot(
        path, {"text": {"rate": {1e-4: NEAR, 1e-2: NEAR}}}, "rate", log_x=True
    ),
    "bars": lambda path: bar_plot(path, {"before": {"pale": 0.9, "dark": 0.1}, "after": {"tan": 0.5}}, "share"),
    "bars_of_many": lambda path: bar_plot(path, {str(i): {"pale": i / 9} for i in range(9)}, "share"),
    "sheet": lambda path: save_figure(
        path, [PictureRow("some", pictures(3), ["a", "b", "c"]), PictureRow("one", pictures(1))]
    ),
}


@pytest.fixture(params=DRAWN)
def draw(request):
    return DRAWN[request.param]


def test_a_figure_is_a_png_with_something_in_it_and_a_pdf_and_nothing_else(draw, tmp_path):
    draw(tmp_path / "figures" / "rate_0.01")
    assert sorted(file.name for file in (tmp_path / "figures").iterdir()) == ["rate_0.01.pdf", "rate_0.01.png"]
    with Image.open(tmp_path / "figures" / "rate_0.01.png") as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("L"))
    assert pixels.var() > 0 and min(pixels.shape) > 100
    assert (tmp_path / "figures" / "rate_0.01.pdf").read_bytes().startswith(b"%PDF")


def test_the_same_numbers_make_the_same_files_and_other_numbers_others(tmp_path):
    for name, share in (("a", 0.5), ("b", 0.5), ("c", 0.6)):
        bar_plot(tmp_path / name, {"before": {"pale": share}}, "share")
    for kind in ("png", "pdf"):
        first, second, third = ((tmp_path / f"{name}.{kind}").read_bytes() for name in "abc")
        assert first == second != third


def test_a_figure_that_cannot_be_drawn_leaves_the_earlier_one(tmp_path):
    DRAWN["bars"](tmp_path / "fig")
    before = (tmp_path / "fig.png").read_bytes()
    with figure() as fig, pytest.raises(ValueError):
        fig.text(0.5, 0.5, r"$\nonsense{$")
        save(fig, tmp_path / "fig")
    assert (tmp_path / "fig.png").read_bytes() == before


def test_names_are_told_apart_without_colour():
    assert len(set(MARKERS)) == len(MARKERS) > len(COLORS) == len(set(COLORS))
