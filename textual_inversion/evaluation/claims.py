"""Tests of the paper's claims: paired differences over concepts (or samples), a 95% confidence interval, and a verdict
that follows from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # scipy.stats has the same, and takes half a second to import

FEWEST = 3  # minimal number of units for an interval

REPRODUCED, NOT_REPRODUCED, OPPOSITE, NOT_TESTED = "reproduced", "not reproduced", "opposite", "not tested"


@dataclass(frozen=True)
class Interval:
    mean: float
    low: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of `values`, one per concept, with its 95% interval (Student's t, since a bootstrap over three
    concepts covers 73%). With fewer than `FEWEST` values, the interval is infinite. Raises ValueError if there are no
    values, or if one is not finite."""
    each = np.asarray(values, dtype=float)
    if not each.size or not np.isfinite(each).all():
        raise ValueError(f"an interval needs finite numbers, got {each.tolist()}")
    mean, n = float(each.mean()), len(each)
    if n < FEWEST:
        return Interval(mean, -np.inf, np.inf)
    half = float(stdtrit(n - 1, 0.975) * each.std(ddof=1)) / n**0.5
    return Interval(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim. `claim` is the claim in words, `statistic` describes the differences that `interval` is
    of, and `units` is the number of concepts or samples. `interval` is None if there were too few of them."""

    claim: str
    statistic: str
    interval: Interval | None
    units: int
    verdict: str

    def __str__(self) -> str:
        return f"{self.claim} | {self.statistic}: {self.measured()} | {self.verdict}"

    def measured(self) -> str:
        """Format the mean difference and its interval."""
        i = self.interval
        return f"{i.mean:+.3f} [{i.low:+.3f}, {i.high:+.3f}]" if i else "-"


def greater(found: Interval) -> str:
    """Test that the differences are above 0."""
    return REPRODUCED if found.low > 0 else OPPOSITE if found.high < 0 else NOT_REPRODUCED


def alike(found: Interval, margin: float) -> str:
    """Test that the differences are within the margin on both sides."""
    if found.low > margin or found.high < -margin:
        return OPPOSITE
    return REPRODUCED if -margin < found.low and found.high < margin else NOT_REPRODUCED


def at_most(found: Interval, margin: float) -> str:
    """Test that the differences are below the margin."""
    return REPRODUCED if found.high < margin else OPPOSITE if found.low > margin else NOT_REPRODUCED


def decide(
    claim: str, statistic: str, one: Mapping[str, float], other: Mapping[str, float], test: Callable[[Interval], str]
) -> Verdict:
    """Return the verdict of `test` on the differences between `one` and `other` (concept -> value), over the concepts
    in both."""
    common = sorted(one.keys() & other.keys())
    if len(common) < FEWEST:
        return Verdict(claim, statistic, None, len(common), NOT_TESTED)
    found = interval([one[concept] - other[concept] for concept in common])
    return Verdict(claim, statistic, found, len(common), test(found))
