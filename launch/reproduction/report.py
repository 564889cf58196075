"""What a figure leaves: PNG and PDF, the numbers as CSV, and a line for each claim with its verdict."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ldm.files import replacing, write_json, write_whole
from textual_inversion.evaluation.claims import Interval, Verdict, decide, greater


@dataclass(frozen=True)
class Claim:
    """What the paper finds, as a `test` of the differences between two rows of a table: `metric` of row `of` minus that
    of row `than`."""

    says: str
    metric: str
    of: str
    than: str
    test: Callable[[Interval], str] = greater


@dataclass(frozen=True)
class Figure:
    """Where a figure goes, `folder`/`name`.png and so on, what the paper claims of it (the fields of a `Claim` each),
    and the hash of its own settings."""

    folder: Path
    name: str
    claims: Sequence[Mapping[str, Any]]
    settings: str

    @property
    def path(self) -> Path:
        """Of its files, without suffix."""
        return self.folder / self.name

    def conclude(self, table: Sequence[Mapping[str, Any]]) -> list[Verdict]:
        """Writes the numbers, and judges the claims by them."""
        write_table(self.folder / f"{self.name}.csv", table)
        return judge(self.claims, table)


def judge(claims: Sequence[Mapping[str, Any]], table: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """A verdict on each claim, the fields of a `Claim`, from a table with columns "row", "concept" and maybe "seed".
    Of each concept the seeds that both rows have are compared."""
    return [_judge(Claim(**claim), table) for claim in claims]


def _judge(claim: Claim, table: Sequence[Mapping[str, Any]]) -> Verdict:
    of, than = (_values([line for line in table if line["row"] == row], claim.metric) for row in (claim.of, claim.than))
    common = of.keys() & than.keys()
    statistic = f"{claim.metric} of {claim.of!r} minus that of {claim.than!r}"
    if isinstance(claim.test, partial):
        statistic += "".join(f" ({name} {value:g})" for name, value in claim.test.keywords.items())
    one, other = (_mean_over_seeds({key: values[key] for key in common}) for values in (of, than))
    return decide(claim.says, statistic, one, other, claim.test)


def _values(lines: Sequence[Mapping[str, Any]], metric: str) -> dict[tuple[str, Any], float]:
    """(concept, seed) -> mean of the metric; without those that do not have it."""
    found: dict[tuple[str, Any], list[float]] = {}
    for line in lines:
        if line.get(metric) is not None:
            found.setdefault((str(line.get("concept")), line.get("seed")), []).append(float(line[metric]))
    return {key: float(np.mean(values)) for key, values in found.items()}


def _mean_over_seeds(values: Mapping[tuple[str, Any], float]) -> dict[str, float]:
    concepts = dict.fromkeys(concept for concept, _ in values)
    return {c: float(np.mean([v for (concept, _), v in values.items() if concept == c])) for c in concepts}


def per_concept(lines: Sequence[Mapping[str, Any]], metric: str) -> dict[str, float]:
    """Concept -> mean of the metric over its seeds; without those that do not have it."""
    return _mean_over_seeds(_values(lines, metric))


def write_table(path: Path, table: Sequence[Mapping[str, Any]]) -> None:
    """As CSV, the whole file or nothing; numbers have six digits."""
    columns = list(dict.fromkeys(column for line in table for column in line))
    rows = [[_cell(line.get(column)) for column in columns] for line in table]
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value


def _claims_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.claims.json"


def forget_claims(folder: Path, name: str) -> None:
    """Takes away the figure's verdicts of an earlier time."""
    _claims_file(folder, name).unlink(missing_ok=True)
    _write_overview(folder)


def write_claims(folder: Path, name: str, verdicts: Sequence[Verdict]) -> None:
    """`folder`/<name>.claims.json, and claims.md over all figures that have such a file there."""
    write_json(_claims_file(folder, name), [asdict(verdict) for verdict in verdicts])
    _write_overview(folder)


def _write_overview(folder: Path) -> None:
    lines = ["| figure | what the paper finds | measured here, 95% | over | verdict |", "|---|---|---|---|---|"]
    for file in sorted(folder.glob("*.claims.json")):
        for found in json.loads(file.read_text(encoding="utf-8")):
            verdict = Verdict(**{**found, "interval": Interval(**found["interval"]) if found["interval"] else None})
            figure = file.name.removesuffix(".claims.json")
            measured = f"{verdict.statistic}: {verdict.measured()}"
            lines.append(f"| {figure} | {verdict.claim} | {measured} | {verdict.units} | **{verdict.verdict}** |")
    write_whole(folder / "claims.md", ("\n".join(lines) + "\n").encode())
