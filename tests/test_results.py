"""The committed results: every verdict follows from the committed numbers, which record the protocol and the code."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from launch.reproduction.protocol import PROTOCOL, protocol_hash, require_same, resolve_protocol, weights_of
from launch.reproduction.report import judge, overview, read_claims
from launch.reproduction.reproduce import open_store
from ldm.errors import UserError
from textual_inversion.evaluation.claims import NOT_FOUND, UNDECIDED

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "assets" / "results"
FIGURES = sorted(file.name.removesuffix(".claims.json") for file in RESULTS.glob("*.claims.json"))
EARLIER = "0aab63c45ecd4d22"  # the protocol of the committed results until those of the configs' protocol replace them
GIVEN = ("learn", "evaluate")  # settings of the command
TEXT = ("row", "concept", "other", "seed", "curve", "config", "commit", "word_commit")


def numbers_of(name):
    return pd.read_csv(RESULTS / f"{name}.csv", dtype=dict.fromkeys(TEXT, str))


@pytest.fixture(scope="module")
def record():
    return json.loads((RESULTS / PROTOCOL).read_text(encoding="utf-8"))


def test_the_results_are_of_the_protocol(record):
    require_results_of_protocol(record)


def require_results_of_protocol(record):
    """Fail for results of another protocol than that of the configs, unless it is the earlier one."""
    protocol = record["protocol"]
    assert record["hash"] == protocol_hash(protocol), "the protocol beside the results was edited"
    if record["hash"] == EARLIER:
        return
    require_same(
        RESULTS, record, now(f"budget={protocol['budget']['name']}", *(f"{k}={json.dumps(protocol[k])}" for k in GIVEN))
    )


def now(*overrides):
    """Return the record of the protocol of the configs."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("reproduce", ["figure=all", *overrides])
        store = open_store(config)
        protocol = resolve_protocol(config, store)
        return {"hash": protocol_hash(protocol), "protocol": protocol, "weights": weights_of(config, store)}


def test_results_of_another_protocol_are_refused():
    record = json.loads(json.dumps(now("budget=full")))
    require_results_of_protocol(record)
    record["protocol"]["figures"]["inversions"]["claims"][0]["test"]["margin"] = 0.01
    with pytest.raises(AssertionError, match="was edited"):
        require_results_of_protocol(record)
    record["hash"] = protocol_hash(record["protocol"])
    with pytest.raises(
        UserError, match=r"another protocol \(figures.inversions.claims.0.test.margin was 0.01, is 0.02\)"
    ):
        require_results_of_protocol(record)


@pytest.mark.parametrize("name", FIGURES)
def test_verdicts_follow_from_the_numbers(name, record):
    claims = record["protocol"]["figures"][name]["claims"]
    found = judge(instantiate(claims, _convert_="all"), numbers_of(name))
    written = json.loads((RESULTS / f"{name}.claims.json").read_text(encoding="utf-8"))
    for verdict, before in zip(found, written, strict=True):
        numbers = {key: before.pop(key) for key in ("interval", "spread", "p")}
        assert {key: getattr(verdict, key) for key in before} == before
        assert vars(verdict.interval) == pytest.approx(numbers["interval"], abs=1e-5)
        assert (verdict.spread, verdict.p) == pytest.approx((numbers["spread"], numbers["p"]), rel=1e-3)


def test_the_overview_follows_from_the_verdicts(record):
    verdicts = {name: read_claims(RESULTS / f"{name}.claims.json") for name in FIGURES}
    assert (RESULTS / "claims.md").read_text(encoding="utf-8") == overview(verdicts, record)


@pytest.mark.parametrize("name", FIGURES)
def test_every_number_says_what_it_was_made_with(name):
    table = numbers_of(name)
    assert table["config"].str.fullmatch("[0-9a-f]{16}( [0-9a-f]{16})?").all()
    for column in ("commit", "word_commit"):  # what needs no word has none
        found = table[column] if column == "commit" else table[column].dropna()
        assert len(found) and found.str.fullmatch("[0-9a-f]{12}").all()


def test_every_figure_has_results(record):
    assert sorted(record["protocol"]["figures"]) == FIGURES


def test_the_documentation_counts_the_claims_that_are_reproduced():
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    counted = re.findall(r"\(\.\./assets/results/(\w+)\.(?:png|jpg)\) \|.*\| (\d+) of (\d+) \|", page)
    assert sorted(name for name, *_ in counted) == FIGURES
    for name, reproduced, every in counted:
        verdicts = [verdict.verdict for verdict in read_claims(RESULTS / f"{name}.claims.json")]
        assert (verdicts.count("reproduced"), len(verdicts)) == (int(reproduced), int(every)), name
        assert "opposite" not in verdicts
    lines = (RESULTS / "claims.md").read_text(encoding="utf-8").splitlines()
    after = [sum(line.endswith(end) for line in lines) for end in ("| **reproduced** | reproduced |", "| reproduced |")]
    said = re.search(r"Of the (\d+) that are reproduced, (\d+) still are after Holm's correction over all (\d+)", page)
    counts = [sum(int(one[k]) for one in counted) for k in (1, 2)]
    others = re.search(r"(\d+) are \*not found\* .* and (\d+) undecided", page)
    assert others and [int(n) for n in others.groups()] == [
        sum(f"| **{v}** |" in line for line in lines) for v in (NOT_FOUND, UNDECIDED)
    ]
    assert said and [int(n) for n in said.groups()] == [counts[0], after[0], counts[1]] and after[0] == after[1]
