"""Every plot gives a PNG and a PDF that show its numbers, and equal numbers give equal files."""

import math
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from textual_inversion.evaluation.claims import Interval
from textual_inversion.figures import plots
from textual_inversion.figures.plots import bar_plot, figure, line_plot, save, scatter_plot
from textual_inversion.figures.sheets import MOST_BYTES, PictureRow, compress, save_figure, save_small_figure

NEAR = Interval(0.5, 0.4, 0.6)
OPEN = Interval(0.3, -math.inf, math.inf)  # with too few concepts


def pictures(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


# Each figure with one number x in it.
DRAWN = {
    "scatter": lambda path, x: scatter_plot(
        path, {"one": (NEAR, NEAR), "few": (OPEN, Interval(x, 0.1, 0.9))}, "editability", "reconstruction"
    ),
    "scatter_of_many": lambda path, x: scatter_plot(
        path, {str(i): (NEAR, Interval(i * x, i * x, i * x)) for i in range(20)}, "x", "y"
    ),
    "scatter_with_intervals": lambda path, x: scatter_plot(
        path, {"a": (NEAR, NEAR), "b": (NEAR, Interval(0.5, 0.5 - x, 0.5 + x))}, "x", "y"
    ),
    "scatter_with_a_corner": lambda path, x: scatter_plot(
        path, {"a": (NEAR, NEAR), "b": (NEAR, Interval(x, x, x))}, "x", "y", corners={"b": (1.0, 0.0)}
    ),
    "lines": lambda path, x: line_plot(
        path, {"loss": {"a": {1: NEAR, 5: OPEN}, "b": {5: NEAR}}, "text": {"a": {1: Interval(x, 0.1, 0.9)}}}, "n"
    ),
    "lines_over_decades": lambda path, x: line_plot(
        path, {"text": {"rate": {1e-4: NEAR, 1e-2: Interval(0.5, 0.1, 0.5 + x)}}}, "rate", log_x=True
    ),
    "bars": lambda path, x: bar_plot(path, {"before": {"pale": 0.9, "dark": 0.1}, "after": {"tan": x}}, "share"),
    "sheet": lambda path, x: save_figure(
        path, [PictureRow("some", pictures(3), ["a", "b", f"{x}"]), PictureRow("one", pictures(1))]
    ),
    "bars_of_many": lambda path, x: bar_plot(path, {str(i): {"pale": i * x} for i in range(9)}, "share"),
}


@pytest.fixture(autouse=True)
def few_pixels(monkeypatch):
    monkeypatch.setitem(plots.STYLE, "savefig.dpi", 50)


@pytest.fixture(params=DRAWN)
def draw(request):
    return DRAWN[request.param]


def test_a_figure_is_a_png_and_a_pdf_that_show_its_numbers_and_nothing_else(draw, tmp_path):
    for name, x in (("rate_0.01", 0.5), ("other", 0.6)):
        draw(tmp_path / "figures" / name, x)
    files = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert sorted(files) == ["other.pdf", "other.png", "rate_0.01.pdf", "rate_0.01.png"]
    one, other = (Image.open(tmp_path / "figures" / f"{name}.png").convert("L") for name in ("rate_0.01", "other"))
    assert min(one.size) > 100 and one.tobytes() != other.tobytes()
    assert files["rate_0.01.pdf"].startswith(b"%PDF") and files["rate_0.01.pdf"] != files["other.pdf"]


def test_the_same_numbers_make_the_same_files(tmp_path):
    for name in "ab":
        DRAWN["bars"](tmp_path / name, 0.5)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_a_figure_that_cannot_be_drawn_leaves_the_earlier_one(tmp_path):
    DRAWN["bars"](tmp_path / "fig", 0.5)
    before = (tmp_path / "fig.png").read_bytes()
    with figure() as fig, pytest.raises(ValueError):
        fig.text(0.5, 0.5, r"$\nonsense{$")
        save(fig, tmp_path / "fig")
    assert (tmp_path / "fig.png").read_bytes() == before


def test_fifteen_names_are_told_apart_without_colour_and_more_with_it(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(plots, "save", lambda fig, path: shown.append(fig.axes[0]))
    scatter_plot(tmp_path, {str(i): (NEAR, NEAR) for i in range(20)}, "x", "y")
    line_plot(tmp_path, {"loss": {str(i): {1: NEAR} for i in range(20)}}, "n")
    scatter, curves = shown
    for lines in ([line for line in scatter.lines if line.get_marker() != "None"], curves.lines):
        assert len(lines) == 20 and len({line.get_marker() for line in lines[:15]}) == 15
        assert len({(line.get_marker(), line.get_color()) for line in lines}) == 20


def test_a_small_sheet_is_one_file_that_shows_its_pictures(tmp_path):
    rows = [PictureRow("some", pictures(3), ["a", "b", "c"]), PictureRow("one", pictures(1))]
    save_small_figure(tmp_path / "rate_0.01", rows)
    save_small_figure(tmp_path / "other", [rows[0], PictureRow("one", pictures(2)[1:])])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.jpg", "rate_0.01.jpg"]
    one, other = (Image.open(tmp_path / f"{name}.jpg") for name in ("rate_0.01", "other"))
    assert one.format == "JPEG" and one.size == other.size and one.tobytes() != other.tobytes()


def test_a_sheet_of_many_pictures_is_not_larger_than_it_may_be():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), dtype=np.uint8))
    calm = noise.resize((40, 30)).resize((1600, 1200))
    for image, size in ((calm, (1600, 1200)), (noise, (800, 600))):  # noise is too large even in the least quality
        file = compress(image)
        assert len(file) <= MOST_BYTES and Image.open(BytesIO(file)).size == size
