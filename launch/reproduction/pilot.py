"""Pilot runs: how likeness and editability develop over steps, and how much they spread. The margins, the number of
steps and the number of concepts of the protocol are chosen from this, on toys that are never measured."""

from pathlib import Path

import numpy as np
import pandas as pd

from .comparison import LABELS, curves
from .report import per_concept, write_table

COUNTED = {"demands_met": "demands met"}


def development(path: Path, table: pd.DataFrame) -> None:
    """Plot the metrics over steps, with one line per curve; write the spreads beside it, to `path`_spread.csv."""
    labels = LABELS | {metric: label for metric, label in COUNTED.items() if metric in table}
    curves(path, table, "steps", log_x=True, labels=labels)
    spread = pd.concat([spread_of(table, metric) for metric in labels])
    write_table(path.with_name(f"{path.name}_spread.csv"), spread)


def spread_of(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return for each row of the table the mean of the metric and two standard deviations.

    "between_concepts" is that of the difference to the first curve at the same x, over concepts, after the mean over
    seeds: a claim of the form "this curve and not the first one" needs concepts in proportion to its square.
    "between_seeds" is that of the seeds of one concept, pooled over concepts: a margin below it means nothing."""
    values = per_concept(table, metric).unstack("concept")
    rows = table.drop_duplicates("row").set_index("row").reindex(values.index)
    first = rows["curve"].eq(rows["curve"].iloc[0])
    base = values[first].set_axis(rows["x"][first]).reindex(rows["x"]).set_axis(values.index)
    within = table.groupby(["row", "concept"], sort=False)[metric].var(ddof=1).groupby("row", sort=False).mean()
    found = {
        "metric": metric,
        "curve": rows["curve"],
        "x": rows["x"],
        "mean": values.mean(axis=1),
        "between_concepts": (values - base).std(axis=1, ddof=1),
        "between_seeds": np.sqrt(within.reindex(values.index)),
    }
    return pd.DataFrame(found).rename_axis("row").reset_index()
