"""The committed results: every verdict follows from the committed numbers, which record the settings and the code."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from launch.reproduction.report import judge

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "assets" / "results"
FIGURES = sorted(file.name.removesuffix(".claims.json") for file in RESULTS.glob("*.claims.json"))
TEXT = ("row", "concept", "other", "seed", "curve", "config", "commit", "word_commit")


def numbers_of(name):
    return pd.read_csv(RESULTS / f"{name}.csv", dtype=dict.fromkeys(TEXT, str))


@pytest.fixture(scope="module")
def figures():
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return compose("reproduce", ["figure=all", "budget=full"]).figures


@pytest.mark.parametrize("name", FIGURES)
def test_verdicts_follow_from_the_numbers(name, figures):
    figure = figures[name]
    found = judge(instantiate(figure.claims, _convert_="all"), numbers_of(name))
    written = json.loads((RESULTS / f"{name}.claims.json").read_text(encoding="utf-8"))
    assert [(v.claim, v.statistic, v.units, v.verdict) for v in found] == [
        (v["claim"], v["statistic"], v["units"], v["verdict"]) for v in written
    ]
    for verdict, before in zip(found, written, strict=True):
        assert vars(verdict.interval) == pytest.approx(before["interval"], abs=1e-5)


@pytest.mark.parametrize("name", FIGURES)
def test_every_number_says_what_it_was_made_with(name):
    table = numbers_of(name)
    assert table["config"].str.fullmatch("[0-9a-f]{16}( [0-9a-f]{16})?").all()
    for column in ("commit", "word_commit"):  # what needs no word has none
        found = table[column] if column == "commit" else table[column].dropna()
        assert len(found) and found.str.fullmatch("[0-9a-f]{12}").all()


def test_every_figure_has_results(figures):
    assert sorted(figures) == FIGURES


def test_the_documentation_counts_the_claims_that_are_reproduced():
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    counted = re.findall(r"\(\.\./assets/results/(\w+)\.png\) \|.*\| (\d+) of (\d+) \|", page)
    assert sorted(name for name, *_ in counted) == FIGURES
    for name, reproduced, every in counted:
        verdicts = [v["verdict"] for v in json.loads((RESULTS / f"{name}.claims.json").read_text(encoding="utf-8"))]
        assert (verdicts.count("reproduced"), len(verdicts)) == (int(reproduced), int(every)), name
        assert "opposite" not in verdicts
