"""Tests of the paper's claims: paired differences over concepts (or samples), a 95% confidence interval, and a verdict
that follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # scipy.stats has the same, and takes half a second to import

from .power import FEWEST, concepts_needed

LEVEL = 0.05  # of p values; 1 - LEVEL is the coverage of intervals

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
    half = float(stdtrit(n - 1, 1 - LEVEL / 2) * each.std(ddof=1)) / n**0.5
    return Interval(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Finding:
    """What the paper finds of a mean difference: that it lies between `low` and `high`. `margin` is the
    smallest difference that matters."""

    low: float
    high: float
    margin: float

    def __str__(self) -> str:
        if self.high == np.inf:
            return f"above {self.low:g}"
        return f"below {self.high:g}" if self.low == -np.inf else f"within {self.high:g}"

    def verdict(self, found: Interval) -> str:
        """Return whether the interval lies in the paper's range, outside of it, or on one of its ends."""
        if self.low < found.low and found.high < self.high:
            return REPRODUCED
        return OPPOSITE if found.high < self.low or found.low > self.high else NOT_REPRODUCED

    def p_value(self, values: Sequence[float]) -> float:
        """Return the smallest level at which the interval of `values` would lie on neither end of the range: the
        two-sided p value of Student's t, of a mean at the nearest end."""
        each = np.asarray(values, dtype=float)
        gap = min(abs(each.mean() - end) for end in (self.low, self.high) if np.isfinite(end))
        error = each.std(ddof=1) / len(each) ** 0.5
        if error == 0.0:
            return float(gap == 0.0)
        return float(2.0 * stdtr(len(each) - 1, -gap / error))

    def concepts_needed(self, spread: float) -> int:
        """Return the number of concepts with which a true mean one margin away from every end of the range is found
        there, in 80% of experiments; `spread` is the standard deviation of the differences."""
        return concepts_needed(self.margin, spread, sides=int(np.isfinite([self.low, self.high]).sum()))


def greater(margin: float) -> Finding:
    """Test that the differences are above 0. The margin matters for the number of concepts only."""
    return Finding(0.0, np.inf, margin)


def alike(margin: float) -> Finding:
    """Test that the differences are within the margin on both sides."""
    return Finding(-margin, margin, margin)


def at_most(margin: float) -> Finding:
    """Test that the differences are below the margin."""
    return Finding(-np.inf, margin, margin)


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim. `claim` is the claim in words, `statistic` describes the differences that `interval` is
    of, and `units` is the number of concepts or samples. `spread` is the standard deviation of the differences, `p`
    their p value, and `needed` the number of units with which a difference of one margin would be found. The last four
    and `interval` are None if there were too few units."""

    claim: str
    statistic: str
    interval: Interval | None
    units: int
    verdict: str
    spread: float | None = None
    p: float | None = None
    needed: int | None = None

    def __str__(self) -> str:
        return f"{self.claim} | {self.statistic}: {self.measured()} | {self.verdict}"

    def measured(self) -> str:
        """Format the mean difference and its interval."""
        i = self.interval
        return f"{i.mean:+.3f} [{i.low:+.3f}, {i.high:+.3f}]" if i else "-"


def decide(claim: str, statistic: str, one: Mapping[str, float], other: Mapping[str, float], test: Finding) -> Verdict:
    """Return the verdict of `test` on the differences between `one` and `other` (concept -> value), over the concepts
    in both."""
    common = sorted(one.keys() & other.keys())
    if len(common) < FEWEST:
        return Verdict(claim, statistic, None, len(common), NOT_TESTED)
    values = [one[concept] - other[concept] for concept in common]
    found, spread = interval(values), float(np.std(values, ddof=1))
    verdict, p, needed = test.verdict(found), test.p_value(values), test.concepts_needed(spread)
    return Verdict(claim, statistic, found, len(common), verdict, spread, p, needed)


def holm(p_values: Sequence[float], family: int) -> list[float]:
    """Return the p values, adjusted for a `family` of that many claims (Holm 1979): all claims below a level are then
    right together with a probability of 1 - level. Claims of the family without a p value count as 1. Raises
    ValueError if the family is smaller than the number of p values."""
    if family < len(p_values):
        raise ValueError(f"{len(p_values)} p values are more than the {family} claims of the family")
    order = np.argsort(p_values, kind="stable")
    adjusted = np.asarray(p_values, dtype=float)[order] * (family - np.arange(len(p_values)))
    found = np.empty(len(p_values))
    found[order] = np.minimum(np.maximum.accumulate(adjusted), 1.0)
    return found.tolist()


def corrected(verdicts: Sequence[Verdict], family: int) -> list[str]:
    """Return each verdict as it stands after Holm's correction over the `family`."""
    adjusted = iter(holm([verdict.p for verdict in verdicts if verdict.p is not None], family))
    return [verdict.verdict if verdict.p is None or next(adjusted) < LEVEL else NOT_REPRODUCED for verdict in verdicts]
