"""Verdicts on differences that leave no doubt, and on those that do."""

import math
from functools import partial

import numpy as np
import pytest

from textual_inversion.evaluation.claims import (
    NOT_REPRODUCED,
    NOT_TESTED,
    OPPOSITE,
    REPRODUCED,
    alike,
    at_most,
    decide,
    greater,
    interval,
)

CONCEPTS = ("bear", "cat", "dog", "owl", "robot")


def numbers(*values: float) -> dict[str, float]:
    return dict(zip(CONCEPTS, values, strict=False))


ZERO = numbers(0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        (numbers(0.1, 0.2, 0.15, 0.12, 0.18), REPRODUCED),
        (numbers(-0.1, -0.2, -0.15, -0.12, -0.18), OPPOSITE),
        (numbers(0.3, -0.2, 0.1, -0.25, 0.05), NOT_REPRODUCED),
        (ZERO, NOT_REPRODUCED),
    ],
)
def test_more_is_reproduced_where_the_whole_interval_is_above_zero(more, verdict):
    found = decide("more is more", "difference", more, ZERO, greater)
    assert found.verdict == verdict and found.units == 5
    assert found.interval.mean == pytest.approx(np.mean(list(more.values())))


def test_differences_are_paired_so_a_spread_between_concepts_does_not_hide_them():
    less = numbers(0.1, 0.5, 0.9, 0.3, 0.7)
    more = {concept: value + 0.01 for concept, value in less.items()}
    assert decide("", "", more, less, greater).verdict == REPRODUCED
    assert decide("", "", less, more, greater).verdict == OPPOSITE


@pytest.mark.parametrize(
    ("one", "margin", "two_sided", "one_sided"),
    [
        (numbers(0.01, -0.01, 0.005, 0.0, -0.008), 0.05, REPRODUCED, REPRODUCED),
        (numbers(0.01, -0.01, 0.005, 0.0, -0.008), 0.001, NOT_REPRODUCED, NOT_REPRODUCED),
        (numbers(0.2, 0.22, 0.19, 0.21, 0.2), 0.05, OPPOSITE, OPPOSITE),
        (numbers(-0.2, -0.22, -0.19, -0.21, -0.2), 0.05, OPPOSITE, REPRODUCED),  # less is no more
        (numbers(0.02, 0.1, 0.04, 0.07, 0.01), 0.05, NOT_REPRODUCED, NOT_REPRODUCED),
    ],
)
def test_alike_is_within_the_margin_on_both_sides_at_most_on_one(one, margin, two_sided, one_sided):
    assert decide("", "", one, ZERO, partial(alike, margin=margin)).verdict == two_sided
    assert decide("", "", one, ZERO, partial(at_most, margin=margin)).verdict == one_sided


@pytest.mark.parametrize("count", [0, 1, 2])
def test_of_too_few_concepts_nothing_is_tested(count):
    one = dict(list(numbers(0.5, 0.5, 0.5).items())[:count])
    found = decide("", "", one, ZERO, greater)
    assert (found.verdict, found.units, found.interval) == (NOT_TESTED, count, None)


def test_only_concepts_that_both_have_count_in_any_order():
    more, less = numbers(0.1, 0.2, 0.3, 0.4), {"robot": 9.0, "owl": 0.1, "dog": 0.1, "cat": 0.1}
    found = decide("", "", more, less, greater)
    assert found.units == 3 and found.interval.mean == pytest.approx(0.2)
    assert decide("", "", dict(reversed(more.items())), less, greater) == found


def test_the_interval_by_hand():
    found = interval([1.0, 2.0, 3.0])  # standard deviation 1, t of 2 degrees of freedom 4.303
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2.0 - 4.303 / 3**0.5, 2.0 + 4.303 / 3**0.5))
    assert interval([5.0, 7.0]).low == -math.inf


@pytest.mark.parametrize("n", [3, 5, 11, 50])
def test_the_interval_holds_the_truth_in_95_of_100_draws(n):
    rng = np.random.default_rng(n)
    found = [interval(rng.normal(size=n).tolist()) for _ in range(4000)]
    assert np.mean([i.low < 0 < i.high for i in found]) == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="needs finite numbers"):
        decide("", "", numbers(0.1, bad, 0.2), ZERO, greater)
    with pytest.raises(ValueError, match="needs finite numbers"):
        interval([])


def test_a_verdict_reads_as_claim_statistic_interval_and_outcome():
    said = str(decide("words beat captions", "image similarity", numbers(0.1, 0.1, 0.1), ZERO, greater))
    assert said == "words beat captions | image similarity: +0.100 [+0.100, +0.100] | reproduced"
