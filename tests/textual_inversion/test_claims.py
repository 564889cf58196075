"""Verdicts on differences that leave no doubt, and on those that do."""

import math

import numpy as np
import pytest

from textual_inversion.claims import NOT_REPRODUCED, OPPOSITE, REPRODUCED, alike, greater, interval

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
    found = greater("more is more", "difference", more, ZERO)
    assert found.verdict == verdict and found.units == 5
    assert found.interval.mean == pytest.approx(np.mean(list(more.values())))


def test_differences_are_paired_so_a_spread_between_concepts_does_not_hide_them():
    less = numbers(0.1, 0.5, 0.9, 0.3, 0.7)
    more = {concept: value + 0.01 for concept, value in less.items()}
    assert greater("", "", more, less).verdict == REPRODUCED
    assert greater("", "", less, more).verdict == OPPOSITE


@pytest.mark.parametrize(
    ("one", "margin", "verdict"),
    [
        (numbers(0.01, -0.01, 0.005, 0.0, -0.008), 0.05, REPRODUCED),
        (numbers(0.01, -0.01, 0.005, 0.0, -0.008), 0.001, NOT_REPRODUCED),
        (numbers(0.2, 0.22, 0.19, 0.21, 0.2), 0.05, OPPOSITE),
        (numbers(-0.2, -0.22, -0.19, -0.21, -0.2), 0.05, OPPOSITE),
        (numbers(0.02, 0.1, 0.04, 0.07, 0.01), 0.05, NOT_REPRODUCED),
    ],
)
def test_alike_is_reproduced_where_the_whole_interval_is_within_the_margin(one, margin, verdict):
    found = alike("both are alike", "difference", one, ZERO, margin)
    assert found.verdict == verdict
    assert f"margin {margin:g}" in found.statistic


@pytest.mark.parametrize("count", [1, 2])
def test_of_too_few_concepts_nothing_is_reproduced(count):
    one = dict(list(numbers(0.5, 0.5, 0.5).items())[:count])
    for verdict in (greater("", "", one, ZERO), alike("", "", one, one, 10.0)):
        assert verdict.verdict == NOT_REPRODUCED and verdict.units == count
        assert (verdict.interval.low, verdict.interval.high) == (-math.inf, math.inf)


def test_only_concepts_that_both_have_count_in_any_order():
    more, less = numbers(0.1, 0.2, 0.3, 0.4), {"robot": 9.0, "owl": 0.1, "dog": 0.1, "cat": 0.1}
    found = greater("", "", more, less)
    assert found.units == 3 and found.interval.mean == pytest.approx(0.2)
    assert greater("", "", dict(reversed(more.items())), less) == found


def test_the_same_numbers_give_the_same_verdict_to_the_bit():
    values = np.random.default_rng(0).normal(size=5).tolist()
    np.random.seed(1)
    first = interval(values)
    np.random.seed(2)
    assert interval(values) == first
    assert interval(values).low < first.mean < interval(values).high


def test_the_interval_holds_the_mean_and_grows_with_the_spread_and_shrinks_with_the_count():
    values = np.random.default_rng(3).normal(size=12)
    one, twice, more = interval(values.tolist()), interval((2 * values).tolist()), interval(np.tile(values, 9).tolist())
    width = one.high - one.low
    assert one.low < one.mean < one.high
    assert twice.high - twice.low == pytest.approx(2 * width)
    assert more.high - more.low == pytest.approx(width / 3, rel=0.1)
    normal = 2 * 1.96 * values.std() / math.sqrt(12)
    assert width == pytest.approx(normal, rel=0.15)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="needs finite numbers"):
        greater("", "", numbers(0.1, bad, 0.2), ZERO)
    with pytest.raises(ValueError, match="needs finite numbers"):
        interval([])


def test_without_a_common_concept_there_is_nothing_to_compare():
    with pytest.raises(ValueError, match=r"\['cat'\] and \['dog'\] share no concept"):
        greater("", "", {"cat": 1.0}, {"dog": 0.0})


def test_a_verdict_reads_as_claim_statistic_interval_and_outcome():
    said = str(greater("words beat captions", "image similarity", numbers(0.1, 0.1, 0.1), ZERO))
    assert said == "words beat captions | image similarity +0.100 [+0.100, +0.100] | reproduced"
