"""What the paper finds, put to the test: paired differences over concepts (or samples), a bootstrapped interval, and a
verdict that nobody writes by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ldm.keyed_random import numpy_generator

DRAWS = 10_000
LEVEL = 0.95
FEWEST = 3  # units below which no interval means anything

REPRODUCED, NOT_REPRODUCED, OPPOSITE = "reproduced", "not reproduced", "opposite"


@dataclass(frozen=True)
class Interval:
    mean: float
    low: float
    high: float


def interval(values: Sequence[float], draws: int = DRAWS) -> Interval:
    """Mean of `values`, one a concept, with its 95% interval (percentile bootstrap over concepts). Of fewer than
    `FEWEST` the interval is everything."""
    each = np.asarray(values, dtype=float)
    if not each.size or not np.isfinite(each).all():
        raise ValueError(f"an interval needs finite numbers, got {each.tolist()}")
    if len(each) < FEWEST:
        return Interval(float(each.mean()), -np.inf, np.inf)
    picks = numpy_generator(len(each)).integers(len(each), size=(draws, len(each)))
    low, high = np.quantile(each[picks].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(each.mean()), float(low), float(high))


@dataclass(frozen=True)
class Verdict:
    """`claim` in the paper's words, `statistic` says of which differences `interval` is, `units` over how many concepts
    or samples."""

    claim: str
    statistic: str
    interval: Interval
    units: int
    verdict: str

    def __str__(self) -> str:
        i = self.interval
        return f"{self.claim} | {self.statistic} {i.mean:+.3f} [{i.low:+.3f}, {i.high:+.3f}] | {self.verdict}"


def greater(claim: str, statistic: str, more: Mapping[str, float], less: Mapping[str, float]) -> Verdict:
    """Tests that `more` (concept -> number) lies above `less` of the same concept: reproduced where the interval of the
    differences lies above 0, opposite where it lies below."""
    found, count = _paired(more, less)
    verdict = REPRODUCED if found.low > 0 else OPPOSITE if found.high < 0 else NOT_REPRODUCED
    return Verdict(claim, statistic, found, count, verdict)


def alike(claim: str, statistic: str, one: Mapping[str, float], other: Mapping[str, float], margin: float) -> Verdict:
    """Tests that both differ by less than `margin`: reproduced where the whole interval of the differences lies within
    it, opposite where it lies outside."""
    found, count = _paired(one, other)
    within = -margin < found.low and found.high < margin
    outside = found.low > margin or found.high < -margin
    verdict = REPRODUCED if within else OPPOSITE if outside else NOT_REPRODUCED
    return Verdict(claim, f"{statistic} (margin {margin:g})", found, count, verdict)


def _paired(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[Interval, int]:
    common = sorted(one.keys() & other.keys())
    if not common:
        raise ValueError(f"nothing to compare: {sorted(one)} and {sorted(other)} share no concept")
    return interval([one[c] - other[c] for c in common]), len(common)
