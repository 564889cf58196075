"""Figures that compare methods by numbers: distortion and editability (figure 10 of the paper), other inversions over
guidance (figure 11), and set sizes (figure 12)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from textual_inversion.evaluation.claims import Interval, Verdict, interval
from textual_inversion.evaluation.evaluation import require_same_protocol, summary
from textual_inversion.evaluation.subjects import labels_in
from textual_inversion.figures import plots
from toyland.sampling import is_held_out

from .cells import Cell, CellFailed, CellStore
from .report import Figure, per_concept, table_of

LABELS = {"image_similarity": "image similarity (reconstruction)", "text_similarity": "text similarity (editability)"}


@dataclass(frozen=True)
class ComparedRow:
    """One row of the figure: `learn`, `evaluate`, `home` and `unseen` as in `Cell`; `curve` and `x` are its position in
    a line plot."""

    row: str
    learn: Sequence[str] | None = ()
    evaluate: Sequence[str] = ()
    home: bool = False
    unseen: bool = False
    curve: str = ""
    x: float = 0.0


ORIGIN = ("config", "commit", "word_commit")


def cell_of(row: ComparedRow, concept: str, seed: int) -> Cell:
    learn = None if row.learn is None else tuple(row.learn)
    return Cell(concept, seed, learn, tuple(row.evaluate), row.home, row.unseen)


def measure(
    store: CellStore, rows: Sequence[ComparedRow], concepts: Sequence[str], seeds: Sequence[int]
) -> pd.DataFrame:
    """Run the cells of all rows; return one line per cell, without failed cells. Raises CellFailed if all failed."""
    cells = {  # the rows of one word follow each other, since some share a tuned model
        cell_of(row, concept, seed): row for concept in concepts for seed in seeds for row in rows
    }
    results = store.results(list(cells))
    if not results:
        raise CellFailed("all its cells failed; cell.json in their folders holds the errors.")
    alike = {str(i): {"protocol": shared_protocol(result)} for i, result in enumerate(results.values())}
    require_same_protocol(alike)
    return table_of(
        {"row": row.row, "concept": cell.concept, "seed": cell.seed, **summary(result)}
        | in_unseen_places(result, labels_in(store.pictures / cell.concept))
        | {"curve": row.curve, "x": row.x}
        | {name: result[name] for name in ORIGIN}
        for cell, row in cells.items()
        if (result := results.get(cell)) is not None
    )


def in_unseen_places(result: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, float]:
    """Return the fraction of images that show the place that their prompt asks for, over prompts with a place in which
    the model never saw a toy of this class and colour. Empty if there are no such prompts, and outside Toyland."""
    if not {"class", "color"} <= labels.keys():
        return {}
    found = [
        row["shown"]["background"]
        for row, prompt in zip(result["prompts"], result["protocol"]["prompts"], strict=True)
        if "background" in row["shown"] and is_held_out(labels["class"], labels["color"], prompt["shows"]["background"])
    ]
    return {"unseen_places_met": float(np.mean(found))} if found else {}


def shared_protocol(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the protocol without guidance, in which the rows of a figure may differ, and without the seed, in which
    its concepts do."""
    return {name: value for name, value in result["protocol"].items() if name not in ("guidance", "seed")}


def compare(
    store: CellStore,
    figure: Figure,
    concepts: Sequence[str],
    seeds: Sequence[int],
    rows: Sequence[Mapping[str, Any]],
    draw: Callable[[Path, pd.DataFrame], None],
    timed: bool = False,
) -> list[Verdict]:
    """Measure both metrics of `rows` (each a mapping with the fields of `ComparedRow`), draw the figure, and judge its
    claims. `timed` adds the column "seconds", how long the word of the first concept takes to learn alone."""
    compared = [ComparedRow(**row) for row in rows]
    table = measure(store, compared, concepts, seeds)
    if timed:
        first = {cell_of(row, concepts[0], seeds[0]): row.row for row in compared}
        seconds = store.seconds(list(first))
        table["seconds"] = table["row"].map({first[cell]: value for cell, value in seconds.items()})
    draw(figure.path, table)
    return figure.conclude(table)


def of_rows(table: pd.DataFrame, metric: str) -> dict[str, Interval]:
    """Return the mean of each row with a within-concept confidence interval: the level of each concept is subtracted
    (Cousineau 2005, with the correction of Morey 2008), since the claims also compare rows within concepts. The levels
    are a least-squares fit, so that a missing cell does not shift a row. Written by hand, since neither scipy nor
    pandas has these intervals."""
    values = per_concept(table, metric)
    is_row, is_concept = (pd.get_dummies(values.index.get_level_values(key), dtype=float) for key in ("row", "concept"))
    is_of = np.hstack([is_row, is_concept])
    effects = np.linalg.lstsq(is_of, values, rcond=None)[0]
    rows, concepts = np.split(effects, [is_row.shape[1]])
    means = is_row.to_numpy() @ (rows + concepts.mean())
    correction = (len(rows) / max(len(rows) - 1, 1)) ** 0.5
    within = pd.Series(means + correction * (values - is_of @ effects), values.index)
    return {str(row): interval(found.tolist()) for row, found in within.groupby("row", sort=False)}


def scatter(path: Path, table: pd.DataFrame, corners: Mapping[str, Sequence[float]] | None = None) -> None:
    """Plot both metrics of every row against each other, with its seconds if the table has them.
    `corners` as in `scatter_plot`."""
    x, y = (of_rows(table, metric) for metric in LABELS)
    seconds = table.groupby("row")["seconds"].first().dropna() if "seconds" in table else {}
    names = {row: f"{row}, {seconds[row]:.0f} s" if row in seconds else row for row in x}
    points = {names[row]: (x[row], y[row]) for row in x if row in y}
    behind = {row: (corner[0], corner[1]) for row, corner in (corners or {}).items()}
    plots.scatter_plot(path, points, *LABELS.values(), corners=behind)


def curves(
    path: Path, table: pd.DataFrame, x_label: str, log_x: bool = False, labels: Mapping[str, str] = LABELS
) -> None:
    """Plot metrics over x, with one line per curve; `labels` is metric -> label."""
    rows = table.drop_duplicates("row")
    panels: dict[str, dict[str, dict[float, Interval]]] = {}
    for metric, label in labels.items():
        found = of_rows(table, metric)
        panels[label] = {
            str(curve): {float(x): found[row] for x, row in zip(points["x"], points["row"], strict=True)}
            for curve, points in rows.groupby("curve", sort=False)
        }
    plots.line_plot(path, panels, x_label, log_x)
