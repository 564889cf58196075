"""The power of t-tests, against published numbers."""

import numpy as np
import pytest

from textual_inversion.evaluation.claims import REPRODUCED, at_most, greater, interval
from textual_inversion.evaluation.power import FEWEST, concepts_needed, power


@pytest.mark.parametrize(
    ("effect", "n", "tail", "expected"),  # R's power.t.test, as in the tests of statsmodels.stats.power
    [(1.0, 30, 0.025, 0.9995636009612725), (0.2, 20, 0.05, 0.21707518167191), (0.05, 20, 0.05, 0.0764888785042198)],
)
def test_power_is_that_of_r(effect, n, tail, expected):
    assert power(effect, n, tail) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_small_medium_and_large_effects_need_the_known_numbers_of_pairs(effect, n):
    assert concepts_needed(effect, 1.0) == n  # G*Power 3.1, paired t-test, 5%, 80%
    assert concepts_needed(10 * effect, 10.0) == n  # only the ratio counts


@pytest.mark.parametrize("effect", [0.003, 0.01, 0.69, 0.95, 5.0])
def test_one_concept_fewer_is_too_few(effect):
    n = concepts_needed(effect, 1.0)
    assert power(effect, n) >= 0.8 and (n == FEWEST or power(effect, n - 1) < 0.8)


def test_without_a_spread_the_fewest_are_enough():
    assert concepts_needed(0.1, 0.0) == FEWEST


@pytest.mark.parametrize(("test", "true"), [(greater(0.02), 0.02), (at_most(0.02), 0.0)])
def test_with_that_many_concepts_80_of_100_experiments_find_it(test, true):
    n = test.concepts_needed(0.03)
    draws = np.random.default_rng(0).normal(true, 0.03, size=(2000, n))
    assert np.mean([test.verdict(interval(d.tolist())) == REPRODUCED for d in draws]) == pytest.approx(0.81, abs=0.03)
