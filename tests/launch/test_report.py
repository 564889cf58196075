"""What figures conclude from their tables: claims within concepts, intervals of rows, an overview of verdicts."""

import pandas as pd
import pytest

from launch.reproduction.comparison import in_unseen_places, of_rows
from launch.reproduction.report import forget_claims, judge, overview, table_of, write_claims
from textual_inversion.evaluation.claims import NOT_TESTED, REPRODUCED, Interval, Verdict, greater, interval
from toyland.attributes import BACKGROUNDS
from toyland.sampling import is_held_out

CLAIM = {"says": "higher", "metric": "score", "of": "high", "than": "low", "test": greater(0.1)}


def test_of_each_concept_the_seeds_that_both_rows_have_are_compared():
    values = {("high", "cat", 0): 5.0, ("low", "cat", 0): 4.0, ("low", "cat", 1): 99.0}
    values |= {(row, concept, 0): 2.0 + (row == "high") for row in ("high", "low") for concept in ("dog", "owl")}
    table = [{"row": row, "concept": c, "seed": seed, "score": v} for (row, c, seed), v in values.items()]
    (verdict,) = judge([CLAIM], table_of(table))
    assert verdict.interval.mean == 1.0 and verdict.verdict == "reproduced"


def test_a_number_that_is_none_is_not_taken_for_a_missing_one():
    with pytest.raises(ValueError, match="score is nan"):
        table_of([{"row": "high", "score": 1.0}, {"row": "high", "score": float("nan")}])


def test_what_no_row_has_is_not_tested():
    for records in ([], [{"row": "high", "concept": "cat", "other": 1.0}], [{"row": "high", "score": 1.0}]):
        (verdict,) = judge([CLAIM], pd.DataFrame(records))
        assert verdict.verdict == "not tested" and verdict.units == 0


def test_intervals_of_rows_forget_what_concepts_differ_in():
    levels = {"cat": 0.1, "dog": 0.5, "owl": 0.9}
    table = [
        {"row": row, "concept": concept, "seed": 0, "score": level + more}
        for row, more in (("low", 0.0), ("high", 0.2))
        for concept, level in levels.items()
    ]
    found = of_rows(pd.DataFrame(table), "score")
    assert (found["low"].mean, found["high"].mean) == pytest.approx((0.5, 0.7))
    assert all(i.high - i.low < 1e-9 for i in found.values())


def test_a_missing_cell_shifts_no_row_and_widens_none():
    table = [
        {"row": row, "concept": concept, "seed": 0, "score": level + (row == "high")}
        for row in ("low", "high")
        for concept, level in {"cat": 0.1, "dog": 0.5, "owl": 0.9, "car": 0.3}.items()
    ]
    found = of_rows(pd.DataFrame(table[:-1]), "score")
    assert (found["low"].mean, found["high"].mean) == pytest.approx((0.45, 1.45))
    assert all(i.high - i.low < 1e-9 for i in found.values())


def test_the_interval_of_two_rows_is_that_of_half_their_differences():
    low, high = [0.1, 0.4, 0.2], [0.3, 0.5, 0.7]
    table = [
        {"row": row, "concept": concept, "seed": 0, "score": score}
        for row, scores in (("low", low), ("high", high))
        for concept, score in zip(("cat", "dog", "owl"), scores, strict=True)
    ]
    # Morey 2008: with two rows the variance left in each is half that of the differences, as of independent rows.
    differences = interval([b - a for a, b in zip(low, high, strict=True)])
    for found in of_rows(pd.DataFrame(table), "score").values():
        assert found.high - found.low == pytest.approx((differences.high - differences.low) / 2**0.5)


def test_verdicts_of_a_figure_that_can_be_drawn_no_more_are_gone(tmp_path):
    for name in ("bias", "style"):
        write_claims(tmp_path, name, [Verdict(f"what {name} says", "none", None, 0, NOT_TESTED)])
    forget_claims(tmp_path, "bias")
    overview = (tmp_path / "claims.md").read_text()
    assert "what style says" in overview and "what bias says" not in overview


def test_the_overview_says_what_stands_after_the_correction_over_all_claims_of_the_protocol():
    scores = {"high": (0.2, 0.31, 0.24), "low": (0.1, 0.2, 0.15)}
    table = [
        {"row": row, "concept": concept, "score": score}
        for row, values in scores.items()
        for concept, score in zip(("cat", "dog", "owl"), values, strict=True)
    ]
    (verdict,) = judge([CLAIM], table_of(table))
    assert verdict.spread == pytest.approx(0.01) and verdict.p == pytest.approx(0.0033, abs=1e-4)
    record = {"hash": "0123456789abcdef", "protocol": {"figures": {"a": {"claims": [CLAIM] * 20}}}}
    alone, among = (overview({"a": [verdict]}, one).splitlines() for one in (None, record))
    assert alone[-1].endswith("| 3 | 0.010 | 3 | 0.0033 | **reproduced** | reproduced |")
    assert among[-1].endswith("| **reproduced** | undecided |")
    assert among[0] == "Protocol `0123456789abcdef`, 20 claims (20 paper)."


def test_the_overview_corrects_each_family_by_itself():
    verdicts = [
        Verdict("more", "gap", Interval(0.1, 0.01, 0.2), 9, REPRODUCED, spread=0.1, p=0.03, needed=5, family=family)
        for family in ("paper", "demands")
    ]
    claims = [*[CLAIM] * 2, CLAIM | {"family": "demands"}]
    record = {"hash": "0123456789abcdef", "protocol": {"figures": {"a": {"claims": claims}}}}
    first, *_, paper, demands = overview({"a": verdicts}, record).splitlines()
    assert first == "Protocol `0123456789abcdef`, 3 claims (2 paper, 1 demands)."
    assert (
        paper
        == "| a | more | paper | gap: +0.100 [+0.010, +0.200] | 9 | 0.100 | 5 | 0.03 | **reproduced** | undecided |"
    )
    assert demands.endswith("| **reproduced** | reproduced |")


def test_what_is_not_tested_has_no_numbers_in_the_overview():
    said = overview({"a": [Verdict("none", "nothing", None, 2, NOT_TESTED)]}, None)
    assert said.splitlines()[-1] == "| a | none | paper | nothing: - | 2 | - | - | - | **not tested** | not tested |"


def test_unseen_places_are_those_held_out_for_the_toys_class_and_colour():
    held_out = [place for place in BACKGROUNDS if is_held_out("cat", "orange", place)]
    assert 1 <= len(held_out) < 9
    shows = [*({"background": place} for place in BACKGROUNDS), {"style": "oil"}]
    rows = [{"shown": {name: 0.75 if value in held_out else 0.0 for name, value in s.items()}} for s in shows]
    result = {"prompts": rows, "protocol": {"prompts": [{"shows": s} for s in shows]}}
    assert in_unseen_places(result, {"class": "cat", "color": "orange"}) == {"unseen_places_met": 0.75}
    assert in_unseen_places(result, {"style": "oil"}) == {}
    nowhere = {"prompts": rows[-1:], "protocol": {"prompts": [{"shows": shows[-1]}]}}
    assert in_unseen_places(nowhere, {"class": "cat", "color": "orange"}) == {}
