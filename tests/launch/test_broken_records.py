"""A record that is broken counts as not done or is said in one sentence. It never stands in the way of what is good."""

import json
from types import SimpleNamespace

import pytest
import torch

from launch.evaluate import others
from launch.jobs import JOB, SWEEP, Job, job_in, sweep_in
from launch.reproduction.records import CELL, finish, is_done
from launch.reproduction.report import forget_claims
from launch.sweep_report import report
from ldm.errors import UserError
from ldm.training.callbacks import MetricsTable, read_rows
from textual_inversion.evaluation.evaluation import read_result
from textual_inversion.evaluation.subjects import labels_in
from textual_inversion.words.file import FILE_NAME, LearnedWord

BROKEN = [b"", b"{", b"[]", b"null", b"7", b'"text"', b'{"a": 1}', b"\xff\xfe\x00", b"[" * 100_000, b'{"jobs": [1]}']
BROKEN += [b'{"jobs": [{"number": "x", "overrides": 3}]}', b'{"state": ["finished"], "commit": 1}', b'{"labels": []}']


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_json_record_is_no_record(tmp_path, content):
    for name in (JOB, SWEEP, CELL, "evaluation.json", "fig.claims.json"):
        (tmp_path / name).write_bytes(content)
    assert job_in(tmp_path) is None and sweep_in(tmp_path) == ("", {})
    assert not is_done(tmp_path, "evaluation.json") and not is_done(tmp_path, FILE_NAME)
    report(tmp_path.parent, {})
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "evaluation.json").write_bytes(content)
    report(tmp_path, {0: ["seed=0"]})
    assert not (tmp_path / "results.csv").exists()
    forget_claims(tmp_path, "another")
    assert (tmp_path / "claims.md").read_text().count("\n") == 2


def test_whole_records_are_records(tmp_path):
    job = Job(3, ["seed=0"], "finished")
    (tmp_path / JOB).write_text(json.dumps(vars(job)))
    (tmp_path / SWEEP).write_text(
        json.dumps({"id": "ab", "command": [], "jobs": [{"number": 3, "overrides": ["a=1"]}]})
    )
    assert job_in(tmp_path) == job and sweep_in(tmp_path) == ("ab", {3: ["a=1"]})
    LearnedWord("S*", torch.ones(1, 16)).save(tmp_path / FILE_NAME)
    assert not is_done(tmp_path, FILE_NAME)
    finish(tmp_path)
    assert is_done(tmp_path, FILE_NAME)
    (tmp_path / FILE_NAME).write_bytes((tmp_path / FILE_NAME).read_bytes()[:-10])
    assert not is_done(tmp_path, FILE_NAME)


@pytest.mark.parametrize("content", [c for c in BROKEN if not c.startswith(b'{"')] + [b'{"labels": {"class": 1}}'])
def test_broken_labels_are_said_in_a_sentence(tmp_path, content):
    (tmp_path / "concept.json").write_bytes(content)
    with pytest.raises(UserError, match=r"concept\.json is broken"):
        labels_in(tmp_path)


RESULT = {"image_similarity": 0.5, "image_only": None, "text_similarity": 0.25, "identity": {"class": 1.0}}
RESULT |= {"protocol": {"samples": 2}, "structure": {"correlation": 0.1}}
CHANGES = [{"image_similarity": "0.5"}, {"text_similarity": None}, {"text_similarity": float("nan")}]
CHANGES += [{"identity": [1.0]}, {"identity": {"class": "cat"}}, {"protocol": 3}, {"image_only": {}}]


@pytest.mark.parametrize("content", [*BROKEN, *(json.dumps(RESULT | change).encode() for change in CHANGES)])
def test_a_broken_evaluation_is_none(tmp_path, content):
    file = tmp_path / "0" / "evaluation.json"
    file.parent.mkdir()
    file.write_text(json.dumps(RESULT))
    finish(file.parent)
    assert read_result(file) == RESULT and is_done(file.parent, file.name) and others([str(file)])
    file.write_bytes(content)
    assert read_result(file) is None and not is_done(file.parent, file.name)
    assert report(tmp_path, {0: ["seed=0"]}) is False
    with pytest.raises(UserError, match=r"evaluation\.json is not a result of evaluate\.py"):
        others([str(file)])


@pytest.mark.parametrize("interval", [3, "text", {"mean": 1.0}, {"mean": "a", "low": "b", "high": "c"}])
def test_broken_verdicts_are_left_out(tmp_path, interval):
    verdict = {"claim": "a", "statistic": "b", "units": 3, "verdict": "reproduced", "interval": interval}
    (tmp_path / "fig.claims.json").write_text(json.dumps([verdict]))
    forget_claims(tmp_path, "another")
    assert (tmp_path / "claims.md").read_text().count("\n") == 2


def trainer(step, **metrics):
    optimizers = [SimpleNamespace(param_groups=[{"lr": 0.01}])]
    values = {name.replace("_", "/"): torch.tensor(value) for name, value in metrics.items()}
    return SimpleNamespace(
        global_step=step, callback_metrics=values, optimizers=optimizers, is_global_zero=True, sanity_checking=False
    )


TABLES = {
    "a row without its end": (b"step,train/loss,lr\r\n1,0.5,0.01\r\n2,0.25,0.01\r\n3,0", ["1", "2", "4"]),
    "a row that ends within a number": (b"step,train/loss,lr\r\n1,0.5,0.01\r\n2,0.25,0.01\r\n1", ["1", "2", "4"]),
    "words": (b"step,train/loss,lr\r\n1,0.5,0.01\r\n2,oops,0.01\r\n", ["1", "4"]),
    "too many fields": (b"step,train/loss,lr\r\n1,0.5,0.01\r\n2,1,1,1,1\r\n", ["1", "4"]),
    "bytes": (b"\xff\xfe\x00\x01" * 9, ["4"]),
    "NUL": (b"step,train/loss,lr\r\n1,\x00,0.01\r\n2,0.25,0.01\r\n", ["2", "4"]),
    "nothing": (b"", ["4"]),
    "another table": (b"name,age\r\nme,3\r\n", ["4"]),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_broken_table_of_metrics_keeps_its_whole_rows(tmp_path, what):
    path = tmp_path / "metrics.csv"
    content, steps = TABLES[what]
    path.write_bytes(content)
    table = MetricsTable(str(path), every=1)
    table.on_train_start(trainer(3), None)
    table.on_train_batch_end(trainer(4, train_loss=0.125), None)
    assert [row["step"] for row in read_rows(path)] == steps
    assert read_rows(path)[-1] == {"step": "4", "train/loss": "0.125", "lr": "0.01"}


def test_rows_are_appended(tmp_path):
    path = tmp_path / "metrics.csv"
    table = MetricsTable(str(path), every=1)
    table.on_train_start(trainer(0), None)
    table.on_train_batch_end(trainer(1, train_loss=0.5), None)
    place = path.stat().st_ino
    for step in range(2, 5):
        table.on_train_batch_end(trainer(step, train_loss=0.5), None)
    assert path.stat().st_ino == place
    table.on_validation_end(trainer(4, val_loss=0.25), None)  # a new column
    assert path.stat().st_ino != place
    place = path.stat().st_ino
    for step in range(5, 9):
        table.on_train_batch_end(trainer(step, train_loss=0.5), None)
        table.on_validation_end(trainer(step, val_loss=0.25), None)
    assert path.stat().st_ino == place
    assert [row["step"] for row in read_rows(path)] == [str(step) for step in range(1, 9)]
    assert all(row["val/loss"] == "0.25" for row in read_rows(path)[3:])
    path.unlink()
    table.on_train_batch_end(trainer(1_234_567, train_loss=0.5), None)
    assert [row["step"] for row in read_rows(path)] == ["1234567"]
