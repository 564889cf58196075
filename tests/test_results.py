"""The committed results: every verdict follows from the numbers beside it, and they say what they were made with."""

import csv
import json
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from launch.reproduction.report import judge

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "assets" / "results"
FIGURES = sorted(file.name.removesuffix(".claims.json") for file in RESULTS.glob("*.claims.json"))
TEXT = ("row", "concept", "other", "seed", "curve", "config", "commit", "word_commit")


def numbers_of(name):
    with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    return [{k: v if k in TEXT else float(v) for k, v in line.items() if v} for line in lines]


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
        assert vars(verdict.interval) == pytest.approx(before["interval"], abs=1e-4)


@pytest.mark.parametrize("name", FIGURES)
def test_every_number_says_what_it_was_made_with(name):
    for line in numbers_of(name):
        assert re.fullmatch("[0-9a-f]{16}( [0-9a-f]{16})?", line["config"]), line
        for commit in (line["commit"], line.get("word_commit", line["commit"])):
            assert re.fullmatch("[0-9a-f]{12}", commit), line


def test_every_figure_has_results(figures):
    assert sorted(figures) == FIGURES


def test_readme_counts_the_claims_that_are_reproduced():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    counted = re.findall(r"\(assets/results/(\w+)\.png\) \|.*\| (\d+) of (\d+) \|", readme)
    assert sorted(name for name, *_ in counted) == FIGURES
    for name, reproduced, every in counted:
        verdicts = [v["verdict"] for v in json.loads((RESULTS / f"{name}.claims.json").read_text(encoding="utf-8"))]
        assert (verdicts.count("reproduced"), len(verdicts)) == (int(reproduced), int(every)), name
        assert "opposite" not in verdicts
