"""What a figure leaves: PNG and PDF, the numbers as CSV, and a line for each claim with its verdict."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textual_inversion.claims import Verdict, alike, greater
from textual_inversion.embedding_file import write_whole


@dataclass(frozen=True)
class Claim:
    """What the paper finds, as a test of two rows of a table: `metric` of row `of` is greater than that of row `than`,
    or, with a `margin`, as large."""

    says: str
    metric: str
    of: str
    than: str
    margin: float | None = None


def test(claim: Claim, table: Sequence[Mapping[str, Any]]) -> Verdict | None:
    """The verdict from a table with columns "row" and "concept"; over seeds the mean is taken first. None if one of the
    rows is missing altogether."""
    of, than = per_concept(table, claim.of, claim.metric), per_concept(table, claim.than, claim.metric)
    if not of.keys() & than.keys():
        return None
    statistic = f"{claim.metric} of {claim.of!r} minus that of {claim.than!r}"
    if claim.margin is None:
        return greater(claim.says, statistic, of, than)
    return alike(claim.says, statistic, of, than, claim.margin)


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
    lines = ["| figure | what the paper finds | measured here | over | verdict |", "|---|---|---|---|---|"]
    for file in sorted(folder.glob("*.claims.json")):
        for claim in json.loads(file.read_text(encoding="utf-8")):
            i = claim["interval"]
            measured = f"{claim['statistic']}: {i['mean']:+.3f} [{i['low']:+.3f}, {i['high']:+.3f}]"
            figure = file.name.removesuffix(".claims.json")
            lines.append(f"| {figure} | {claim['claim']} | {measured} | {claim['units']} | **{claim['verdict']}** |")
    write_whole(folder / "claims.md", ("\n".join(lines) + "\n").encode())
