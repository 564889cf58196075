"""Summarises the evaluations of a sweep in one table and one plot. Seeds and concepts count as repetitions."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ldm.errors import UserError
from textual_inversion.evaluation.claims import Interval, interval
from textual_inversion.evaluation.evaluation import RESULT, read_result, require_same_protocol, summary
from textual_inversion.figures import plots

from . import jobs
from .reproduction.report import per_concept, table_of, write_table

log = logging.getLogger(__name__)

NAME = "results"
LIKENESS, OBEDIENCE = "image_similarity", "text_similarity"
REPETITIONS = ("seed", "concept")  # overrides that repeat a row


def report(folder: Path, every: Mapping[int, Sequence[str]]) -> bool:
    """Write `folder`/results.csv, .png and .pdf from the jobs (number -> overrides) that have an evaluation. Returns
    False if there are none, or if they cannot be compared, which is logged."""
    results = {}
    for number in every:
        file = folder / str(number) / RESULT
        if file.is_file() and (result := _result(file)) is not None:
            results[number] = result
    if not results:
        return False
    try:
        require_same_protocol({f"job {number}": result for number, result in results.items()})
    except UserError as error:
        log.warning("no table of results: %s", error)
        return False
    varied = {n: dict(o.split("=", 1) for o in jobs.varying(every[n], list(every.values()))) for n in results}
    table = table_of({"job": number, **varied[number], **summary(results[number])} for number in results)
    write_table(folder / f"{NAME}.csv", table)
    keys = dict.fromkeys(key for overrides in varied.values() for key in overrides if key not in REPETITIONS)
    draw(folder / NAME, table, list(keys))
    log.info("%s.csv and .png: %s over %d words", folder / NAME, " and ".join((LIKENESS, OBEDIENCE)), len(table))
    return True


def _result(file: Path) -> dict[str, Any] | None:
    """Read an evaluation; None if it is broken."""
    result = read_result(file)
    if result is None:
        log.warning("%s is broken and left out: remove it and resume the sweep to evaluate again", file)
    return result


def draw(path: Path, table: pd.DataFrame, keys: list[str]) -> None:
    """Plot both metrics over the varied setting (`keys` are the columns of those) if there is a single one and it is a
    number, else against each other."""
    names = table[keys].fillna("").agg(", ".join, axis=1) if keys else pd.Series("all", table.index)
    found = {
        str(name): (interval(_repetitions(lines, LIKENESS)), interval(_repetitions(lines, OBEDIENCE)))
        for name, lines in table.groupby(names, sort=False)
    }
    numbers = [_number(name) if len(keys) == 1 else None for name in found]
    if all(number is not None for number in numbers):
        panels: dict[str, dict[str, dict[float, Interval]]] = {
            metric.replace("_", " "): {"": {float(name): both[i] for name, both in found.items()}}
            for i, metric in enumerate((LIKENESS, OBEDIENCE))
        }
        plots.line_plot(path, panels, keys[0], log_x=min(n for n in numbers if n is not None) > 0)
        return
    plots.scatter_plot(path, found, "image similarity", "text similarity")


def _repetitions(lines: pd.DataFrame, metric: str) -> list[float]:
    """Return one value per concept, the mean over its seeds. With a single concept, return one value per seed."""
    means = per_concept(lines, metric)
    return means.tolist() if len(means) > 1 else lines[metric].tolist()


def _number(text: str) -> float | None:
    value = yaml.safe_load(text)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
