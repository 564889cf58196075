"""Trainings that are killed with SIGKILL or SIGTERM end as undisturbed ones when the same command is run again. The
long version is `scripts/benchmark.py case=kills`."""

import shutil
from pathlib import Path

import pytest

from launch.benchmarks.kills import Trainings, kills, planned
from launch.benchmarks.same_runs import differences
from ldm.files import write_json

JOB = ["experiment=cat_toy", "debug=tiny", "hydra.run.dir={run}"]


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    found = Trainings(tmp_path_factory.mktemp("kills"), JOB)
    found.undisturbed()
    return found


@pytest.mark.integration
def test_the_same_command_goes_on_to_the_same_result(trainings):
    assert trainings.events > 50
    for kill in planned(trainings, at_events=8, at_random=2, seed=0):
        assert trainings.resumed(kill) == []


@pytest.mark.integration
def test_the_comparison_finds_what_is_lost(trainings, tmp_path):
    whole, other = trainings.folder / "undisturbed", tmp_path / "other"
    shutil.copytree(whole, other)
    assert differences(whole, other) == [] and "run/contact_sheet.png" in map(
        str, (path.relative_to(whole) for path in whole.rglob("*"))
    )
    (other / "run" / "contact_sheet.png").unlink()
    rows = (other / "run" / "metrics.csv").read_text().splitlines()
    (other / "run" / "metrics.csv").write_text("\n".join(rows[:-1]) + "\n")
    shutil.copy(other / "run" / "previews" / "0-00000.png", other / "run" / "previews" / "0-00006.png")
    Path(other / "run" / ".metrics.csv.host-1.partial").touch()
    assert differences(whole, other) == [
        "run/contact_sheet.png is missing", "run/.metrics.csv.host-1.partial is there", "run/metrics.csv differs",
        "run/previews/0-00006.png differs",
    ]  # fmt: skip


def test_a_training_that_is_on_record_is_not_repeated(tmp_path):
    record = {"alone": {"events": 84.0, "kills": 24.0, "differences": 0.0, "different": []}}
    write_json(tmp_path / "kills.json", record)
    groups = {"words": {"shared": ["no=training"], "trainings": {"alone": []}}}
    assert kills(tmp_path, groups, at_events=1, at_random=1) == record
    record["alone"]["different"] = ["a row is missing"]
    write_json(tmp_path / "kills.json", record)
    with pytest.raises(RuntimeError, match="differ from undisturbed ones"):
        kills(tmp_path, groups, at_events=1, at_random=1)
