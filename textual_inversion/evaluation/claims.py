"""Tests of the paper's claims: paired differences over concepts (or samples), a 95% confidence interval, and a verdict
that follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # scipy.stats has the same, and takes half a second to import

from .power import FEWEST, concepts_needed

LEVEL = 0.05  # of p values; 1 - LEVEL is the coverage of intervals

REPRODUCED, OPPOSITE, NOT_FOUND = "reproduced", "opposite", "not found"
UNDECIDED, NOT_TESTED = "undecided", "not tested"

PAPER = "paper"  # the family of the paper's own claims


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
    smallest difference that matters. A mean below `missing` is too small to be the difference that the paper finds."""

    low: float
    high: float
    margin: float
    missing: float = -np.inf

    def __str__(self) -> str:
        if self.high == np.inf:
            return f"above {self.low:g}"
        return f"below {self.high:g}" if self.low == -np.inf else f"within {self.high:g}"

    def verdict(self, found: Interval) -> str:
        """Return REPRODUCED if the interval lies in the paper's range, OPPOSITE if it lies outside, and else NOT_FOUND
        if it lies below `missing`, or UNDECIDED."""
        if self.low < found.low and found.high < self.high:
            return REPRODUCED
        if found.high < self.low or found.low > self.high:
            return OPPOSITE
        return NOT_FOUND if found.high < self.missing else UNDECIDED

    def p_value(self, values: Sequence[float]) -> float:
        """Return the smallest level at which `values` have their verdict, or if they are undecided, at which they would
        lie inside or outside of the range: the two-sided p value of Student's t, of a mean at the nearest end."""
        each = np.asarray(values, dtype=float)
        ends = (self.missing,) if self.verdict(interval(values)) == NOT_FOUND else (self.low, self.high)
        gap = min(abs(each.mean() - end) for end in ends if np.isfinite(end))
        error = each.std(ddof=1) / len(each) ** 0.5
        if error == 0.0:
            return float(gap == 0.0)
        return float(2.0 * stdtr(len(each) - 1, -gap / error))

    def concepts_needed(self, spread: float) -> int:
        """Return the number of concepts with which a true mean one margin away from every end of the range is found
        there, in 80% of experiments. With as many, a difference that is not there is NOT_FOUND as often. `spread` is
        the standard deviation of the differences."""
        return concepts_needed(self.margin, spread, sides=int(np.isfinite([self.low, self.high]).sum()))


def greater(margin: float) -> Finding:
    """Test that the differences are above 0. They are missing if they are below the margin."""
    return Finding(0.0, np.inf, margin, missing=margin)


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
    their p value, and `needed` the number of units with which a difference of one margin would be found. `family` names
    the claims that are corrected together. `interval`, `spread`, `p` and `needed` are None if there were too few
    units."""

    claim: str
    statistic: str
    interval: Interval | None
    units: int
    verdict: str
    spread: float | None = None
    p: float | None = None
    needed: int | None = None
    family: str = PAPER

    def __str__(self) -> str:
        return f"{self.claim} | {self.statistic}: {self.measured()} | {self.verdict}"

    def measured(self) -> str:
        """Format the mean difference and its interval."""
        i = self.interval
        return f"{i.mean:+.3f} [{i.low:+.3f}, {i.high:+.3f}]" if i else "-"


def decide(
    claim: str,
    statistic: str,
    one: Mapping[str, float],
    other: Mapping[str, float],
    test: Finding,
    family: str = PAPER,
) -> Verdict:
    """Return the verdict of `test` on the differences between `one` and `other` (concept -> value), over the concepts
    in both."""
    common = sorted(one.keys() & other.keys())
    if len(common) < FEWEST:
        return Verdict(claim, statistic, None, len(common), NOT_TESTED, family=family)
    values = [one[concept] - other[concept] for concept in common]
    found, spread = interval(values), float(np.std(values, ddof=1))
    verdict, p, needed = test.verdict(found), test.p_value(values), test.concepts_needed(spread)
    return Verdict(claim, statistic, found, len(common), verdict, spread, p, needed, family)


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


def corrected(verdicts: Sequence[Verdict], families: Mapping[str, int]) -> list[str]:
    """Return each verdict as it stands after Holm's correction over its family; `families` holds their numbers of
    claims, name -> number."""
    adjusted = {
        name: iter(holm([one.p for one in verdicts if one.p is not None and one.family == name], size))
        for name, size in families.items()
    }
    return [one.verdict if one.p is None or next(adjusted[one.family]) < LEVEL else UNDECIDED for one in verdicts]
