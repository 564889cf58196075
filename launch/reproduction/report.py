"""The output of a figure: PNG and PDF, its table as CSV, and a verdict on each claim."""

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
    """A claim of the paper, as a `test` of the difference between two rows of a table: `metric` of row `of` minus that
    of row `than`."""

    says: str
    metric: str
    of: str
    than: str
    test: Callable[[Interval], str] = greater


@dataclass(frozen=True)
class Figure:
    """A figure: the paths of its files (`folder`/`name`.png and so on), its claims (each with the fields of `Claim`),
    and the hash of its own settings."""

    folder: Path
    name: str
    claims: Sequence[Mapping[str, Any]]
    settings: str

    @property
    def path(self) -> Path:
        """The path of its files, without suffix."""
        return self.folder / self.name

    def conclude(self, table: Sequence[Mapping[str, Any]]) -> list[Verdict]:
        """Write the table; return the verdicts on the claims."""
        write_table(self.folder / f"{self.name}.csv", table)
        return judge(self.claims, table)


def judge(claims: Sequence[Mapping[str, Any]], table: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """Return a verdict on each claim (a mapping with the fields of `Claim`), from a table with the columns "row",
    "concept" and optionally "seed". For each concept, only seeds that both rows have are compared."""
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
    """Return the mean of the metric for each (concept, seed). Lines without the metric are left out."""
    found: dict[tuple[str, Any], list[float]] = {}
    for line in lines:
        if line.get(metric) is not None:
            found.setdefault((str(line.get("concept")), line.get("seed")), []).append(float(line[metric]))
    return {key: float(np.mean(values)) for key, values in found.items()}


def _mean_over_seeds(values: Mapping[tuple[str, Any], float]) -> dict[str, float]:
    concepts = dict.fromkeys(concept for concept, _ in values)
    return {c: float(np.mean([v for (concept, _), v in values.items() if concept == c])) for c in concepts}


def per_concept(lines: Sequence[Mapping[str, Any]], metric: str) -> dict[str, float]:
    """Return the mean of the metric over the seeds of each concept. Lines without the metric are left out."""
    return _mean_over_seeds(_values(lines, metric))


def write_table(path: Path, table: Sequence[Mapping[str, Any]]) -> None:
    """Write the table as a CSV file with six significant digits. The file is replaced atomically."""
    columns = list(dict.fromkeys(column for line in table for column in line))
    rows = [[_cell(line.get(column)) for column in columns] for line in table]
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value


def _claims_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.claims.json"


def forget_claims(folder: Path, name: str) -> None:
    """Delete the verdicts of an earlier run of the figure."""
    _claims_file(folder, name).unlink(missing_ok=True)
    _write_overview(folder)


def write_claims(folder: Path, name: str, verdicts: Sequence[Verdict]) -> None:
    """Write `folder`/<name>.claims.json, and claims.md with the verdicts of all figures in the folder."""
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
