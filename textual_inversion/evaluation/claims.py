"""What the paper finds, put to the test: paired differences over concepts (or samples), a 95% interval, and a verdict
that nobody writes by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 3  # units below which no interval means anything

REPRODUCED, NOT_REPRODUCED, OPPOSITE, NOT_TESTED = "reproduced", "not reproduced", "opposite", "not tested"

# Student's t at 97.5% for 1, 2, ... degrees of freedom. A bootstrap over three concepts would cover 73%, not 95%.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def _t(freedom: int) -> float:
    # beyond the table the first terms of its expansion in 1 / freedom are right to three digits
    return _T[freedom - 1] if freedom <= len(_T) else 1.960 + 2.372 / freedom


@dataclass(frozen=True)
class Interval:
    mean: float
    low: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """Mean of `values`, one a concept, with its 95% interval (Student's t). Of fewer than `FEWEST` the interval is
    everything. Raises ValueError if a value is not finite, or there is none."""
    each = np.asarray(values, dtype=float)
    if not each.size or not np.isfinite(each).all():
        raise ValueError(f"an interval needs finite numbers, got {each.tolist()}")
    mean, n = float(each.mean()), len(each)
    if n < FEWEST:
        return Interval(mean, -np.inf, np.inf)
    half = _t(n - 1) * float(each.std(ddof=1)) / n**0.5
    return Interval(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Verdict:
    """`claim` in the paper's words, `statistic` says of which differences `interval` is, `units` over how many concepts
    or samples; no interval where there was too little to compare."""

    claim: str
    statistic: str
    interval: Interval | None
    units: int
    verdict: str

    def __str__(self) -> str:
        return f"{self.claim} | {self.statistic}: {self.measured()} | {self.verdict}"

    def measured(self) -> str:
        """The mean difference and its interval."""
        i = self.interval
        return f"{i.mean:+.3f} [{i.low:+.3f}, {i.high:+.3f}]" if i else "-"


def greater(found: Interval) -> str:
    """The differences lie above 0."""
    return REPRODUCED if found.low > 0 else OPPOSITE if found.high < 0 else NOT_REPRODUCED


def alike(found: Interval, margin: float) -> str:
    """The differences lie within the margin on both sides."""
    if found.low > margin or found.high < -margin:
        return OPPOSITE
    return REPRODUCED if -margin < found.low and found.high < margin else NOT_REPRODUCED


def at_most(found: Interval, margin: float) -> str:
    """The differences lie below the margin: no more, or little more."""
    return REPRODUCED if found.high < margin else OPPOSITE if found.low > margin else NOT_REPRODUCED


def decide(
    claim: str, statistic: str, one: Mapping[str, float], other: Mapping[str, float], test: Callable[[Interval], str]
) -> Verdict:
    """The verdict of `test` on the differences between `one` and `other` (concept -> number), of the concepts that both
    have."""
    common = sorted(one.keys() & other.keys())
    if len(common) < FEWEST:
        return Verdict(claim, statistic, None, len(common), NOT_TESTED)
    found = interval([one[concept] - other[concept] for concept in common])
    return Verdict(claim, statistic, found, len(common), test(found))
