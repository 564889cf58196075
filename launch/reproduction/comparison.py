"""Figures that compare rows of numbers: distortion and editability (figure 10 of the paper), other inversions over
guidance (figure 11), set sizes (figure 12)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textual_inversion.evaluation.claims import Interval, Verdict, interval
from textual_inversion.evaluation.evaluation import require_same_protocol, summary
from textual_inversion.figures import plots

from .cells import Cell, CellFailed, CellStore
from .report import Figure, per_concept

Table = list[dict[str, Any]]
LABELS = {"image_similarity": "image similarity (reconstruction)", "text_similarity": "text similarity (editability)"}


@dataclass(frozen=True)
class ComparedRow:
    """One row of the figure: `learn` and `evaluate` as in `Cell`; `curve` and `x` place it where lines are drawn."""

    row: str
    learn: Sequence[str] | None = ()
    evaluate: Sequence[str] = ()
    curve: str = ""
    x: float = 0.0


def measure(store: CellStore, rows: Sequence[ComparedRow], concepts: Sequence[str], seeds: Sequence[int]) -> Table:
    """One record for each cell that could be done. Raises CellFailed if none could."""
    cells = {  # the rows of one word together: some share a tuned model
        Cell(concept, seed, None if row.learn is None else tuple(row.learn), tuple(row.evaluate)): row
        for concept in concepts
        for seed in seeds
        for row in rows
    }
    results = store.results(list(cells))
    if not results:
        raise CellFailed("none of its cells could be done; their folders say why.")
    alike = {str(i): {"protocol": without_guidance(result)} for i, result in enumerate(results.values())}
    require_same_protocol(alike)
    return [
        {"row": row.row, "concept": cell.concept, "seed": cell.seed, **summary(result)}
        | {"curve": row.curve, "x": row.x}
        | {name: result.get(name) for name in ("config", "commit", "word_commit")}
        for cell, row in cells.items()
        if (result := results.get(cell)) is not None
    ]


def without_guidance(result: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol but for what the rows of one figure may differ in."""
    return {name: value for name, value in result["protocol"].items() if name != "guidance"}


def compare(
    store: CellStore,
    figure: Figure,
    concepts: Sequence[str],
    seeds: Sequence[int],
    rows: Sequence[Mapping[str, Any]],
    draw: Callable[[Path, Table], None],
) -> list[Verdict]:
    """Both metrics of each of `rows`, the fields of a `ComparedRow` each."""
    table = measure(store, [ComparedRow(**row) for row in rows], concepts, seeds)
    draw(figure.path, table)
    return figure.conclude(table)


def of_rows(table: Table, metric: str) -> dict[str, Interval]:
    """Row -> mean, with the interval of what is left of the differences between concepts when each concept's own level
    is taken off (Cousineau 2005, with Morey's correction, 2008): rows are compared within concepts, as the claims are.
    Levels are those of least squares, so a cell that is missing shifts no row."""
    rows = dict.fromkeys(line["row"] for line in table)
    values = {row: per_concept([line for line in table if line["row"] == row], metric) for row in rows}
    values = {row: found for row, found in values.items() if found}
    concepts = list(dict.fromkeys(concept for found in values.values() for concept in found))
    cells = [(row, concept) for row, found in values.items() for concept in found]
    is_of = np.array([[row == r for r in values] + [concept == c for c in concepts] for row, concept in cells], float)
    y = np.array([values[row][concept] for row, concept in cells])
    effects = np.linalg.lstsq(is_of, y, rcond=None)[0]
    means = dict(zip(values, effects[: len(values)] + effects[len(values) :].mean(), strict=True))
    left = dict(zip(cells, y - is_of @ effects, strict=True))
    correction = (len(values) / max(len(values) - 1, 1)) ** 0.5
    return {
        row: interval([means[row] + correction * left[row, concept] for concept in found])
        for row, found in values.items()
    }


def scatter(path: Path, table: Table, apart: Sequence[str]) -> None:
    """Both metrics of every row, with 95% intervals."""
    x, y = (of_rows(table, metric) for metric in LABELS)
    points = {row: (x[row], y[row]) for row in x if row in y}
    plots.scatter_plot(path, points, *LABELS.values(), apart=apart)


def curves(path: Path, table: Table, x_label: str, log_x: bool = False) -> None:
    """Both metrics over x, one line a curve."""
    panels: dict[str, dict[str, dict[float, Interval]]] = {}
    for metric, label in LABELS.items():
        panels[label], found = {}, of_rows(table, metric)
        for line in table:
            panels[label].setdefault(line["curve"], {})[float(line["x"])] = found[line["row"]]
    plots.line_plot(path, panels, x_label, log_x)
