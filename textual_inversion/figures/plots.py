"""Plots in a common style, readable in colour and in grey, as PNG and PDF."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ldm.files import replacing

from ..evaluation.claims import Interval
from .labels import label_points

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "pdf.fonttype": 42,  # embed TrueType fonts, so that text stays text
    "savefig.dpi": 160,
}
# Okabe & Ito (2008): distinguishable with colour-vision deficiency; the markers distinguish them in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = "osD^vP*XhpdH<>8"

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs every table of the fonts in a PDF


@contextmanager
def figure(width: float = 5.5, height: float = 4.0):
    """Yield an empty figure of that size in inches, in the common style."""
    with rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def save(fig: Figure, path: Path) -> None:
    """Write `path`.png and `path`.pdf, each atomically."""
    for kind in ("png", "pdf"):
        with replacing(path.with_name(f"{path.name}.{kind}")) as partial:
            # Without a date, equal figures give equal files.
            fig.savefig(partial, format=kind, metadata={"CreationDate": None} if kind == "pdf" else {})


def scatter_plot(
    path: Path,
    points: Mapping[str, tuple[Interval, Interval]],
    x_label: str,
    y_label: str,
    corners: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Plot named points, as wide as a column of print. One cross shows the median of their intervals. `corners` are
    references that are too far away for the same axes: name -> the corner they lie behind, as in (0, 1) for the top
    left. They are named there, with their numbers."""
    shown = {name: point for name, point in points.items() if name not in (corners or {})}
    with figure(3.3, 3.0) as fig:
        axes = fig.subplots()
        found = [(x.mean, y.mean) for x, y in shown.values()]
        for i, (x, y) in enumerate(found):
            axes.plot(x, y, color=COLORS[i % len(COLORS)], marker=MARKERS[i % len(MARKERS)], markersize=4, zorder=3)
        axes.tick_params(labelsize=7)
        axes.set_xlabel(x_label, fontsize=8)
        axes.set_ylabel(y_label, fontsize=8)
        axes.locator_params(nbins=5)
        axes.margins(0.2)
        taken = _cross(axes, [*shown.values()])
        for name, corner in (corners or {}).items():
            if name in points:
                x, y = (each.mean for each in points[name])
                _behind(axes, f"{name}\n({x:.2f}, {y:.2f})", corner)
        colors = [COLORS[i % len(COLORS)] for i in range(len(found))]
        label_points(axes, list(shown), found, colors, 6, taken)
        save(fig, path)


def _cross(axes: Axes, points: Sequence[tuple[Interval, Interval]]) -> list[tuple[float, float, float, float]]:
    """Draw the median interval of the points on both axes as a cross at the bottom, where there is most room. Returns
    the boxes of its arms."""
    sizes = [[(i.high - i.low) / 2 for i in point] for point in points]
    finite = [size for size in sizes if np.isfinite(size).all()]
    if not finite:
        return []
    width, height = np.median(finite, axis=0)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    bottom, top = min(bottom, top - 2.4 * height), max(top, bottom + 2.4 * height)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    places = np.linspace(left + width, right - width, 12)[1:-3]  # the right corner may be taken
    x = max(places, key=lambda place: min(abs(place - point.mean) for point, _ in points))
    y = bottom + 0.04 * (top - bottom) + height
    axes.errorbar(x, y, xerr=width, yerr=height, color="0.6", elinewidth=0.8, linestyle="none")
    axes.annotate("95%", (x, y), (2, 2), textcoords="offset points", fontsize=6, color="0.4")
    thin = 0.01 * (right - left), 0.02 * (top - bottom)
    return [(x - thin[0], y - height, x + thin[0], y + height), (x - width, y - thin[1], x + width, y + thin[1])]


def _behind(axes: Axes, said: str, corner: tuple[float, float]) -> None:
    """Name what lies behind a corner of the axes, with an arrow that points there."""
    (x, y) = inside = (0.03 + 0.94 * corner[0], 0.03 + 0.94 * corner[1])
    start = (x + 0.18 * (0.5 - corner[0]), y + 0.18 * (0.5 - corner[1]))
    arrow = {"arrowstyle": "->", "linewidth": 0.8, "color": "0.2"}
    axes.annotate("", inside, start, xycoords="axes fraction", textcoords="axes fraction", arrowprops=arrow)
    axes.text(
        start[0], start[1], said, transform=axes.transAxes, fontsize=6, color="0.2",
        ha="left" if corner[0] < 0.5 else "right", va="top" if corner[1] > 0.5 else "bottom",
    )  # fmt: skip


def line_plot(
    path: Path, panels: Mapping[str, Mapping[str, Mapping[float, Interval]]], x_label: str, log_x: bool = False
) -> None:
    """Plot panels side by side; `panels` is y label -> name -> x -> interval."""
    with figure(3.2 * len(panels) + 0.4, 3.2) as fig:
        row = np.atleast_1d(fig.subplots(1, len(panels)))
        for axes, (y_label, curves) in zip(row, panels.items(), strict=True):
            for i, (name, curve) in enumerate(curves.items()):
                _curve(axes, name, curve, i)
            axes.set_xlabel(x_label)
            axes.set_ylabel(y_label)
            if log_x:
                axes.set_xscale("log")
            xs = sorted({x for curve in curves.values() for x in curve})
            axes.set_xticks(xs, [_short(x) for x in xs], fontsize="small")
            axes.minorticks_off()
        if len(next(iter(panels.values()))) > 1:
            row[-1].legend()
        save(fig, path)


def _short(x: float) -> str:
    """Format a number in its shorter form, such as 0.5 or 3e-5."""
    return min(f"{x:g}", np.format_float_scientific(x, trim="-", exp_digits=1), key=len)


def bar_plot(path: Path, groups: Mapping[str, Mapping[str, float]], y_label: str) -> None:
    """Plot groups (such as before and after) of named fractions side by side."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    with figure(max(5.0, 0.45 * len(names) * len(groups)), 3.2) as fig:
        axes = fig.subplots()
        width = 0.8 / len(groups)
        for i, (label, group) in enumerate(groups.items()):
            places = np.arange(len(names)) + (i - (len(groups) - 1) / 2) * width
            axes.bar(
                places, [group.get(name, 0.0) for name in names], width, label=label, color=COLORS[i % len(COLORS)]
            )
        axes.set_xticks(np.arange(len(names)), names, rotation=30, ha="right")
        axes.set_ylabel(y_label)
        axes.legend()
        save(fig, path)


def _curve(axes: Axes, name: str, curve: Mapping[float, Interval], i: int) -> None:
    xs = sorted(curve)
    found = [curve[x] for x in xs]
    color = COLORS[i % len(COLORS)]
    axes.plot(xs, [f.mean for f in found], label=name, color=color, marker=MARKERS[i % len(MARKERS)], markersize=4)
    if all(np.isfinite([f.low, f.high]).all() for f in found):
        axes.fill_between(xs, [f.low for f in found], [f.high for f in found], color=color, alpha=0.15, linewidth=0)
