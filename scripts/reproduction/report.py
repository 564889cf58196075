"""What a figure leaves: PNG and PDF, the numbers as CSV, and a line for each claim with its verdict."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from textual_inversion.claims import Interval, Verdict, alike, at_most, greater, judged
from textual_inversion.embedding_file import write_whole


@dataclass(frozen=True)
class Claim:
    """What the paper finds, as a test of the differences between two rows of a table: `metric` of row `of` minus
    `than_metric` (the same if None) of row `than`. `test` is greater, alike or at_most; these two have a `margin`."""

    says: str
    metric: str
    of: str
    than: str
    than_metric: str | None = None
    test: str = "greater"
    margin: float | None = None


TESTS: dict[str, Callable[..., str]] = {"greater": greater, "alike": alike, "at_most": at_most}


def judge(claims: Sequence[Mapping[str, Any]], table: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """A verdict on each claim, the fields of a `Claim`, from a table with columns "row" and "concept"; over seeds the
    mean is taken first."""
    return [_judge(Claim(**claim), table) for claim in claims]


def _judge(claim: Claim, table: Sequence[Mapping[str, Any]]) -> Verdict:
    than_metric = claim.than_metric or claim.metric
    of, than = per_concept(table, claim.of, claim.metric), per_concept(table, claim.than, than_metric)
    statistic = f"{claim.metric} of {claim.of!r} minus {than_metric} of {claim.than!r}"
    given = {} if claim.margin is None else {"margin": claim.margin}
    if given:
        statistic += f" (margin {claim.margin:g})"
    return judged(claim.says, statistic, of, than, partial(TESTS[claim.test], **given))


def per_concept(table: Sequence[Mapping[str, Any]], row: str, metric: str) -> dict[str, float]:
    """Concept -> mean of the metric over the row's seeds; without those that do not have it."""
    values: dict[str, list[float]] = {}
    for line in table:
        if line["row"] == row and line.get(metric) is not None:
            values.setdefault(line["concept"], []).append(float(line[metric]))
    return {concept: float(np.mean(found)) for concept, found in values.items()}


def write_table(path: Path, table: Sequence[Mapping[str, Any]]) -> None:
    """As CSV, the whole file or nothing; numbers have six digits."""
    columns = list(dict.fromkeys(column for line in table for column in line))
    rows = [[_cell(line.get(column)) for column in columns] for line in table]
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])
    partial.replace(path)


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value


def write_claims(folder: Path, name: str, verdicts: Sequence[Verdict]) -> None:
    """`folder`/<name>.claims.json, and claims.md over all figures that have such a file there."""
    content = json.dumps([asdict(verdict) for verdict in verdicts], indent=2)
    write_whole(folder / f"{name}.claims.json", content.encode())
    lines = ["| figure | what the paper finds | measured here, 95% | over | verdict |", "|---|---|---|---|---|"]
    for file in sorted(folder.glob("*.claims.json")):
        for found in json.loads(file.read_text(encoding="utf-8")):
            verdict = Verdict(**{**found, "interval": Interval(**found["interval"]) if found["interval"] else None})
            figure = file.name.removesuffix(".claims.json")
            measured = f"{verdict.statistic}: {verdict.measured()}"
            lines.append(f"| {figure} | {verdict.claim} | {measured} | {verdict.units} | **{verdict.verdict}** |")
    write_whole(folder / "claims.md", ("\n".join(lines) + "\n").encode())
