"""The figures' one style: readable in print, in colour and without; PNG and PDF."""

import logging
from collections.abc import Collection, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ldm.files import replacing

from ..evaluation.claims import Interval

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "pdf.fonttype": 42,  # text stays text
    "savefig.dpi": 160,
}
# Okabe & Ito (2008): told apart by all kinds of eyes; the markers tell them apart in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = "osD^vP*XhpdH<>8"
NAMES_HIGH = 20  # names in one column of a legend

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every table of a PDF's fonts


@contextmanager
def figure(width: float = 5.5, height: float = 4.0):
    """An empty figure of that size in inches, in the style."""
    with rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def save(fig: Figure, path: Path) -> None:
    """`path`.png and `path`.pdf, each whole or not at all."""
    for kind in ("png", "pdf"):
        with replacing(path.with_name(f"{path.name}.{kind}")) as partial:
            # Without a date the same numbers make the same file.
            fig.savefig(partial, format=kind, metadata={"CreationDate": None} if kind == "pdf" else {})


def scatter_plot(
    path: Path,
    points: Mapping[str, tuple[Interval, Interval]],
    x_label: str,
    y_label: str,
    apart: Collection[str] = (),
) -> None:
    """Named points, each with its interval on both axes. With points that lie far `apart` there is a second panel, the
    others from near."""
    columns = -(-len(points) // NAMES_HIGH)
    with figure((9.6 if apart else 6.6) + 1.8 * (columns - 1), 4.2) as fig:
        panels = np.atleast_1d(fig.subplots(1, 2 if apart else 1))
        for axes, left_out in zip(panels, ((), apart), strict=False):
            for i, (name, (x, y)) in enumerate(points.items()):
                if name not in left_out:
                    axes.errorbar(
                        x.mean, y.mean, xerr=_bars(x), yerr=_bars(y), label=name, color=COLORS[i % len(COLORS)],
                        marker=MARKERS[i % len(MARKERS)], markersize=6, elinewidth=0.8, linestyle="none",
                        zorder=3 + len(points) - i,  # the first is the one that the others are compared with
                    )  # fmt: skip
            axes.set_xlabel(x_label)
            axes.set_ylabel(y_label)
        fig.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", ncols=columns)
        save(fig, path)


def line_plot(
    path: Path, panels: Mapping[str, Mapping[str, Mapping[float, Interval]]], x_label: str, log_x: bool = False
) -> None:
    """Panels side by side, y label -> name -> x -> interval."""
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
    """0.5 or 3e-5: the form that takes less room under an axis."""
    return min(f"{x:g}", np.format_float_scientific(x, trim="-", exp_digits=1), key=len)


def bar_plot(path: Path, groups: Mapping[str, Mapping[str, float]], y_label: str) -> None:
    """Groups (say before and after) of named shares, side by side."""
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


def _bars(i: Interval) -> list[list[float]] | None:
    return [[i.mean - i.low], [i.high - i.mean]] if np.isfinite([i.low, i.high]).all() else None


def _curve(axes: Axes, name: str, curve: Mapping[float, Interval], i: int) -> None:
    xs = sorted(curve)
    found = [curve[x] for x in xs]
    color = COLORS[i % len(COLORS)]
    axes.plot(xs, [f.mean for f in found], label=name, color=color, marker=MARKERS[i % len(MARKERS)], markersize=4)
    if all(np.isfinite([f.low, f.high]).all() for f in found):
        axes.fill_between(xs, [f.low for f in found], [f.high for f in found], color=color, alpha=0.15, linewidth=0)
