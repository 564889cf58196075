"""What a sweep of evaluated words came to: one table and one plot in its folder. Seeds and concepts are repetitions."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from textual_inversion.evaluation.claims import Interval, interval
from textual_inversion.evaluation.evaluation import RESULT, require_same_protocol, summary
from textual_inversion.figures import plots

from . import jobs
from .reproduction.report import per_concept, write_table

log = logging.getLogger(__name__)

NAME = "results"
LIKENESS, OBEDIENCE = "image_similarity", "text_similarity"
REPETITIONS = ("seed", "concept")  # keys of overrides that make a row again


def report(folder: Path, every: Mapping[int, Sequence[str]]) -> None:
    """`folder`/results.csv, .png and .pdf from the jobs (number -> overrides) that left an evaluation; says so, or that
    they cannot be compared."""
    results = {}
    for number in every:
        file = folder / str(number) / RESULT
        if file.is_file():
            results[number] = json.loads(file.read_text(encoding="utf-8"))
    if not results:
        return
    try:
        require_same_protocol({f"job {number}": result for number, result in results.items()})
    except ValueError as error:
        log.warning("no table of results: %s", error)
        return
    varied = {n: dict(o.split("=", 1) for o in jobs.varying(every[n], list(every.values()))) for n in results}
    table = [{"job": number, **varied[number], **summary(results[number])} for number in results]
    write_table(folder / f"{NAME}.csv", table)
    draw(folder / NAME, table)
    log.info("%s.csv and .png: %s over %d words", folder / NAME, " and ".join((LIKENESS, OBEDIENCE)), len(table))


def draw(path: Path, table: Sequence[Mapping[str, Any]]) -> None:
    """Both metrics over the one number that varies, or against each other where more or something else does."""
    keys = [key for key in dict.fromkeys(k for line in table for k in line if k != "job") if _is_setting(key, table)]
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for line in table:
        groups.setdefault(tuple(str(line.get(key)) for key in keys), []).append(line)
    found = {
        group: tuple(interval(_repetitions(lines, metric)) for metric in (LIKENESS, OBEDIENCE))
        for group, lines in groups.items()
    }
    numbers = [_number(group[0]) for group in groups] if len(keys) == 1 else [None]
    if all(number is not None for number in numbers):
        panels: dict[str, dict[str, dict[float, Interval]]] = {
            metric.replace("_", " "): {"": {float(group[0]): both[i] for group, both in found.items()}}
            for i, metric in enumerate((LIKENESS, OBEDIENCE))
        }
        plots.line_plot(path, panels, keys[0], log_x=min(n for n in numbers if n is not None) > 0)
        return
    points = {", ".join(group) or "all": (both[0], both[1]) for group, both in found.items()}
    plots.scatter_plot(path, points, "image similarity", "text similarity")


def _repetitions(lines: Sequence[Mapping[str, Any]], metric: str) -> list[float]:
    """One number for each concept, the mean over its seeds; where there is one concept, one for each seed."""
    means = per_concept(lines, metric)
    return list(means.values()) if len(means) > 1 else [line[metric] for line in lines]


def _is_setting(key: str, table: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the column is an override and no repetition: numbers of a result are floats, overrides are texts."""
    return key not in REPETITIONS and all(isinstance(line.get(key, ""), str) for line in table)


def _number(text: str) -> float | None:
    value = yaml.safe_load(text)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
