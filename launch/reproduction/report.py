"""The output of a figure: its files, its table as CSV, and a verdict on each claim."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ldm.files import read_json, replacing, write_json, write_whole
from textual_inversion.evaluation.claims import PAPER, Finding, Interval, Verdict, corrected, decide

from .protocol import PROTOCOL, families

log = logging.getLogger("reproduce")

# "needed": with as many concepts, a difference of one margin is found in 80% of experiments.
COLUMNS = (
    "figure",
    "what the paper finds",
    "family",
    "measured here, 95%",
    "over",
    "spread",
    "needed",
    "p",
    "verdict",
    "Holm",
)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: what `test` finds of the difference between two rows of a table, `metric` of row `of` minus
    that of row `than`. `family` names the claims that are corrected together: the paper's own claims, their
    counterparts by another metric, or claims about another way of learning."""

    says: str
    metric: str
    of: str
    than: str
    test: Finding
    family: str = PAPER


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

    def conclude(self, table: pd.DataFrame) -> list[Verdict]:
        """Write the table; return the verdicts on the claims."""
        write_table(self.folder / f"{self.name}.csv", table)
        return judge(self.claims, table)


KEYS = {"row": "", "concept": "", "seed": 0}  # the columns that identify a line, and the value of a missing column


def table_of(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a table with one line per record. Raises ValueError for a number that is not finite, since pandas would
    treat NaN as a missing value."""
    records = list(records)
    for record in records:
        for name, value in record.items():
            if isinstance(value, float) and not np.isfinite(value):
                raise ValueError(f"{name} is {value} in {record}")
    return pd.DataFrame(records)


def judge(claims: Sequence[Mapping[str, Any]], table: pd.DataFrame) -> list[Verdict]:
    """Return a verdict on each claim (a mapping with the fields of `Claim`), from a table with the columns "row",
    "concept" and optionally "seed". For each concept, only seeds that both rows have are compared."""
    return [_judge(Claim(**claim), table) for claim in claims]


def _judge(claim: Claim, table: pd.DataFrame) -> Verdict:
    seeds = _per_seed(table, claim.metric).unstack("row").reindex(columns=[claim.of, claim.than]).dropna()
    means = seeds.groupby("concept").mean()
    of, than = ({str(concept): value for concept, value in means[row].items()} for row in (claim.of, claim.than))
    statistic = f"{claim.metric} of {claim.of!r} minus that of {claim.than!r} ({claim.test})"
    return decide(claim.says, statistic, of, than, claim.test, claim.family)


def _per_seed(table: pd.DataFrame, metric: str) -> pd.Series:
    """Return the mean of the metric for each (row, concept, seed). Lines without the metric are left out."""
    keyed = table.assign(**{key: value for key, value in KEYS.items() if key not in table})
    return keyed.reindex(columns=[*KEYS, metric]).dropna(subset=[metric]).groupby([*KEYS], sort=False)[metric].mean()


def per_concept(table: pd.DataFrame, metric: str) -> pd.Series:
    """Return the mean of the metric over the seeds of each (row, concept). Lines without the metric are left out."""
    return _per_seed(table, metric).groupby(["row", "concept"], sort=False).mean()


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write the table as a CSV file with six significant digits. The file is replaced atomically."""
    with replacing(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


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


def read_claims(file: Path) -> list[Verdict]:
    """Read the verdicts of a figure; none if the file is broken."""
    try:
        verdicts = [
            Verdict(**{**found, "interval": Interval(**found["interval"]) if found["interval"] else None})
            for found in read_json(file)
        ]
        [verdict.measured() for verdict in verdicts]  # fails for what is no number
        return verdicts
    except (KeyError, TypeError, ValueError):
        log.warning("%s is broken: draw the figure again", file)
        return []


def _write_overview(folder: Path) -> None:
    found = {file.name.removesuffix(".claims.json"): read_claims(file) for file in sorted(folder.glob("*.claims.json"))}
    write_whole(folder / "claims.md", overview(found, read_json(folder / PROTOCOL)).encode())


def overview(found: Mapping[str, Sequence[Verdict]], record: Mapping[str, Any] | None) -> str:
    """Return a table of the verdicts of all figures, as Markdown. `record` is that of the protocol; without one, the
    families of claims are those of these figures."""
    every = [(figure, verdict) for figure, verdicts in found.items() for verdict in verdicts]
    sizes = families(record) if record else Counter(verdict.family for _, verdict in every)
    counted = ", ".join(f"{size} {name}" for name, size in sizes.items())
    lines = [f"Protocol `{record['hash']}`, {sum(sizes.values())} claims ({counted}).", ""] if record else []
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    kept = corrected([verdict for _, verdict in every], sizes)
    for (figure, one), together in zip(every, kept, strict=True):
        spread, needed, p = ("-" if value is None else form.format(value) for value, form in (
            (one.spread, "{:.3f}"), (one.needed, "{}"), (one.p, "{:.2g}"),
        ))  # fmt: skip
        measured = f"{one.statistic}: {one.measured()}"
        cells = [figure, one.claim, one.family, measured, str(one.units), spread, needed, p]
        cells += [f"**{one.verdict}**", together]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
