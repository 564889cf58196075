"""Verdicts on clear differences and on unclear ones."""

import math

import numpy as np
import pytest

from textual_inversion.evaluation.claims import (
    NOT_FOUND,
    NOT_TESTED,
    OPPOSITE,
    PAPER,
    REPRODUCED,
    UNDECIDED,
    Verdict,
    alike,
    at_most,
    corrected,
    decide,
    greater,
    holm,
    interval,
)

CONCEPTS = ("bear", "cat", "dog", "owl", "robot")


def numbers(*values: float) -> dict[str, float]:
    return dict(zip(CONCEPTS, values, strict=False))


MORE = greater(margin=0.1)
ZERO = numbers(0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        (numbers(0.1, 0.2, 0.15, 0.12, 0.18), REPRODUCED),
        (numbers(-0.1, -0.2, -0.15, -0.12, -0.18), OPPOSITE),
        (numbers(0.3, -0.2, 0.1, -0.25, 0.05), UNDECIDED),
        (numbers(0.03, -0.02, 0.01, -0.025, 0.005), NOT_FOUND),
        (numbers(0.03, 0.02, 0.03, 0.02, 0.03), REPRODUCED),  # although it is smaller than the margin
        (ZERO, NOT_FOUND),
    ],
)
def test_more_is_reproduced_where_the_whole_interval_is_above_zero(more, verdict):
    found = decide("more is more", "difference", more, ZERO, MORE)
    assert found.verdict == verdict and found.units == 5
    assert found.interval.mean == pytest.approx(np.mean(list(more.values())))


def test_differences_are_paired_so_a_spread_between_concepts_does_not_hide_them():
    less = numbers(0.1, 0.5, 0.9, 0.3, 0.7)
    more = {concept: value + 0.01 for concept, value in less.items()}
    assert decide("", "", more, less, MORE).verdict == REPRODUCED
    assert decide("", "", less, more, MORE).verdict == OPPOSITE


@pytest.mark.parametrize(
    ("one", "margin", "two_sided", "one_sided"),
    [
        (numbers(0.01, -0.01, 0.005, 0.0, -0.008), 0.05, REPRODUCED, REPRODUCED),
        (numbers(0.01, -0.01, 0.005, 0.0, -0.008), 0.001, UNDECIDED, UNDECIDED),
        (numbers(0.2, 0.22, 0.19, 0.21, 0.2), 0.05, OPPOSITE, OPPOSITE),
        (numbers(-0.2, -0.22, -0.19, -0.21, -0.2), 0.05, OPPOSITE, REPRODUCED),  # "at most" includes less
        (numbers(0.02, 0.1, 0.04, 0.07, 0.01), 0.05, UNDECIDED, UNDECIDED),
    ],
)
def test_alike_is_within_the_margin_on_both_sides_at_most_on_one(one, margin, two_sided, one_sided):
    assert decide("", "", one, ZERO, alike(margin)).verdict == two_sided
    assert decide("", "", one, ZERO, at_most(margin)).verdict == one_sided


@pytest.mark.parametrize("count", [0, 1, 2])
def test_of_too_few_concepts_nothing_is_tested(count):
    one = dict(list(numbers(0.5, 0.5, 0.5).items())[:count])
    found = decide("", "", one, ZERO, MORE)
    assert (found.verdict, found.units, found.interval) == (NOT_TESTED, count, None)


def test_only_concepts_that_both_have_count_in_any_order():
    more, less = numbers(0.1, 0.2, 0.3, 0.4), {"robot": 9.0, "owl": 0.1, "dog": 0.1, "cat": 0.1}
    found = decide("", "", more, less, MORE)
    assert found.units == 3 and found.interval.mean == pytest.approx(0.2)
    assert decide("", "", dict(reversed(more.items())), less, MORE) == found


def test_the_interval_by_hand():
    found = interval([1.0, 2.0, 3.0])  # standard deviation 1, t of 2 degrees of freedom 4.30265
    half = 4.30265 / 3**0.5
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2.0 - half, 2.0 + half), abs=1e-5)
    assert interval([5.0, 7.0]).low == -math.inf


@pytest.mark.parametrize("n", [3, 5, 11, 50])
def test_the_interval_holds_the_truth_in_95_of_100_draws(n):
    rng = np.random.default_rng(n)
    found = [interval(rng.normal(size=n).tolist()) for _ in range(4000)]
    assert np.mean([i.low < 0 < i.high for i in found]) == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="needs finite numbers"):
        decide("", "", numbers(0.1, bad, 0.2), ZERO, MORE)
    with pytest.raises(ValueError, match="needs finite numbers"):
        interval([])


def test_a_verdict_reads_as_claim_statistic_interval_and_outcome():
    said = str(decide("words beat captions", "image similarity", numbers(0.1, 0.1, 0.1), ZERO, MORE))
    assert said == "words beat captions | image similarity: +0.100 [+0.100, +0.100] | reproduced"


def test_p_values_by_hand():
    values = [1.0, 2.0, 3.0]
    t = 2 * 3**0.5  # with 2 degrees of freedom, whose distribution is (1 + t / (2 + t^2)^0.5) / 2
    p = pytest.approx(1 - t / (2 + t * t) ** 0.5)
    assert greater(0.1).p_value(values) == p
    assert at_most(4.0).p_value(values) == p  # 2 below the end, as it is 2 above 0
    assert alike(4.0).p_value(values) == p  # the nearer end counts
    assert MORE.p_value([0.5] * 3) == 0.0
    assert at_most(0.5).p_value([0.5] * 3) == 1.0


def test_the_p_value_of_a_missing_difference_is_that_of_the_margin():
    values = [-1.0, 0.0, 1.0]
    t = 5 * 3**0.5
    assert greater(5.0).verdict(interval(values)) == NOT_FOUND
    assert greater(5.0).p_value(values) == pytest.approx(1 - t / (2 + t * t) ** 0.5)
    assert greater(0.5).verdict(interval(values)) == UNDECIDED and greater(0.5).p_value(values) == 1.0


@pytest.mark.parametrize("test", [MORE, at_most(0.3), alike(0.4)])
def test_a_verdict_is_decided_where_p_is_below_5_percent(test):
    rng = np.random.default_rng(0)
    draws = [rng.normal(rng.uniform(-1, 1), 0.4, size=6).tolist() for _ in range(500)]
    decided = [test.verdict(interval(values)) != UNDECIDED for values in draws]
    assert decided == [test.p_value(values) < 0.05 for values in draws] and 100 < sum(decided) < 450


def test_the_number_of_concepts_for_a_difference_of_one_margin():
    # With margins of half a spread a paired t-test needs 34 pairs for 80% (G*Power, R's power.t.test).
    assert greater(0.5).concepts_needed(1.0) == at_most(0.5).concepts_needed(1.0) == 34
    assert alike(0.5).concepts_needed(1.0) == 44  # 90% on each side: power.t.test(delta=.5, power=.9, type="paired")


def test_holm_by_a_published_example():
    # https://en.wikipedia.org/wiki/Holm-Bonferroni_method#Example: the first and the last are rejected at 5%
    assert holm([0.01, 0.04, 0.03, 0.005], 4) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, 0.04], 5) == pytest.approx([0.05, 0.16])  # what was not tested counts as well
    assert holm([0.4, 0.9], 2) == pytest.approx([0.8, 0.9]) and holm([], 3) == []
    with pytest.raises(ValueError, match="3 p values are more than the 2 claims"):
        holm([0.1, 0.2, 0.3], 2)


def test_of_true_null_hypotheses_holm_rejects_one_in_5_percent_of_families():
    families = np.random.default_rng(1).uniform(size=(4000, 12))
    assert np.mean([min(holm(p.tolist(), 12)) < 0.05 for p in families]) == pytest.approx(0.05, abs=0.012)


def test_a_correction_takes_verdicts_back_and_makes_none():
    verdicts = [Verdict("", "", None, 8, said, p=p) for said, p in [(REPRODUCED, 0.001), (NOT_FOUND, 0.04)]]
    verdicts += [Verdict("", "", None, 2, NOT_TESTED), Verdict("", "", None, 8, UNDECIDED, p=0.3)]
    assert corrected(verdicts, {PAPER: 4}) == [REPRODUCED, UNDECIDED, NOT_TESTED, UNDECIDED]
    assert corrected(verdicts[:2], {PAPER: 2}) == [REPRODUCED, NOT_FOUND]
    assert corrected(verdicts, {PAPER: 60})[0] == UNDECIDED


def test_each_family_is_corrected_by_itself():
    verdicts = [Verdict("", "", None, 8, OPPOSITE, p=0.03, family=name) for name in ("first", "second", "second")]
    assert corrected(verdicts, {"second": 2, "first": 1}) == [OPPOSITE, UNDECIDED, UNDECIDED]


def test_with_the_concepts_needed_a_difference_is_found_or_found_missing_in_80_percent():
    test, rng = greater(0.5), np.random.default_rng(2)
    for mean, verdict in ((0.5, REPRODUCED), (0.0, NOT_FOUND)):
        draws = rng.normal(mean, 1.0, size=(1000, test.concepts_needed(1.0)))
        found = np.mean([test.verdict(interval(values)) == verdict for values in draws.tolist()])
        assert found == pytest.approx(0.8 if mean else 0.775, abs=0.04)  # 2.5% with a mean of 0 are REPRODUCED
