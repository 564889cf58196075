"""Sweeps as a user runs them. With `launcher=packed`, jobs with the same model are trained together, and each writes
the same files as alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from launch.packs import pack_key
from tests.runs import vectors
from tests.tables import every
from textual_inversion.words.file import load_words

ROOT = Path(__file__).resolve().parents[2]
TINY = ["experiment=cat_toy", "debug=tiny"]


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "scripts/train.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)


def train(*arguments: str) -> subprocess.CompletedProcess:
    return run(*TINY, *arguments)


def files(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Found .* in eval mode")
def test_jobs_that_agree_train_together_and_leave_what_they_leave_alone(run_script, tmp_path):
    """Two packs of two jobs, with different numbers of steps; the third job is also trained alone."""
    folder, alone = tmp_path / "sweep", tmp_path / "alone"
    settings = ["launcher=packed", "optim.lr=0.01,0.02", "trainer.max_steps=4,6", f"hydra.sweep.dir={folder}"]
    code, said = run_script("train", *TINY, *settings)
    assert code == 0, said
    packs = [[line.strip()[:2] for line in pack.split("\n")[1:3]] for pack in said.split("training together")[1:]]
    assert packs == [["#0", "#2"], ["#1", "#3"]]

    code, said = run_script("train", *TINY, "optim.lr=0.02", "trainer.max_steps=4", f"hydra.run.dir={alone}")
    assert code == 0, said
    assert files(folder / "2") == files(alone) | {"job.json"}
    torch.testing.assert_close(vectors(folder / "2"), vectors(alone), rtol=1e-5, atol=1e-6)
    assert not torch.equal(vectors(folder / "0"), vectors(folder / "2"))

    for job, rate, other in (("0", "0.01", "0.02"), ("2", "0.02", "0.01")):
        said = (folder / job / "train.log").read_text(encoding="utf-8")
        assert f"learning rate {rate}" in said and f"learning rate {other}" not in said
        assert "is learned; the words nearest to it" in said


@pytest.mark.integration
def test_a_stopped_sweep_goes_on_with_the_same_command(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = ["launcher=packed", "optim.lr=0.01,0.02"]
    for folder, steps in ((whole, 6), (parts, 2), (parts, 6)):
        done = train(*settings, f"trainer.max_steps={steps}", f"hydra.sweep.dir={folder}")
        assert done.returncode == 0, done.stderr
    assert "resuming 2 runs from step 2" in done.stdout
    for job in "01":
        assert files(parts / job) == files(whole / job)
        torch.testing.assert_close(vectors(parts / job), vectors(whole / job), rtol=1e-5, atol=1e-6)


@pytest.mark.integration
def test_a_job_that_nobody_can_join_trains_by_itself(tmp_path):
    done = train("launcher=packed", "trainer.max_steps=2,4", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "training alone: #0" in done.stdout and "training alone: #1" in done.stdout
    assert files(tmp_path / "0") >= {"learned_embeds.safetensors", "train.log"}


@pytest.mark.integration
def test_a_pack_is_no_larger_than_asked(tmp_path):
    seeds = ",".join(map(str, range(5)))
    settings = ["hydra.launcher.max_size=2", f"concept.seed={seeds}", "trainer.max_steps=2"]
    done = train("launcher=packed", *settings, f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "training alone: #0" in done.stdout and done.stdout.count("training together") == 2
    assert all((tmp_path / str(i) / "learned_embeds.safetensors").is_file() for i in range(5))


@pytest.mark.integration
def test_a_mistake_in_one_job_of_a_pack_stops_that_job_alone(tmp_path):
    done = train("launcher=packed", "concept.initializer=cat,qwxyz", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 1 and "error: the initializer 'qwxyz' is no word" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert states(tmp_path) == {"0": "finished", "1": "failed"}
    assert [path.parent.name for path in tmp_path.glob("*/learned_embeds.safetensors")] == ["0"]


def states(folder: Path) -> dict[str, str]:
    return {path.parent.name: json.loads(path.read_text())["state"] for path in folder.glob("*/job.json")}


@pytest.mark.integration
@pytest.mark.parametrize("launcher", ["local", "joblib"])
def test_a_failed_job_stops_no_other_and_is_all_that_is_run_again(tmp_path, launcher):
    done = train(f"launcher={launcher}", "concept.initializer=cat,qwxyz,owl", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 1
    assert states(tmp_path) == {"0": "finished", "1": "failed", "2": "finished"}
    total, failed, how = done.stdout.strip().splitlines()[-3:]
    assert "1 of 3 jobs are not finished" in total and f"sweep.resume={os.path.relpath(tmp_path, ROOT)}" in how
    assert "#1 concept.initializer=qwxyz: failed: the initializer 'qwxyz' is no word" in failed
    assert "1/train.log" in failed and "error: the init" in (tmp_path / "1" / "train.log").read_text()
    before = (tmp_path / "0" / "train.log").read_text()
    again = run(f"sweep.resume={tmp_path}")
    assert again.returncode == 1 and "2 of 3 jobs are already finished" in again.stdout
    assert (tmp_path / "0" / "train.log").read_text() == before


@pytest.mark.integration
def test_a_folder_that_is_no_sweep_is_said(tmp_path):
    done = run(f"sweep.resume={tmp_path}")
    assert done.returncode == 1 and f"error: {tmp_path} is not the folder of a sweep" in done.stderr


BAD = {
    "word": ["concept.initializer=qwertz,cat,dog", 0, "the initializer 'qwertz' is no word"],
    "rate": ["optim.lr=0.01,1e30,0.02", 1, "are NaN or infinite"],
    "checkpoint": ["optim.lr=0.01,0.02,0.03", 0, "last.ckpt is damaged"],
    "config": ["concept.initializer='${nowhere}',cat,dog", 0, "nowhere"],
}


@pytest.mark.parametrize("what", every(4, BAD))
def test_a_job_that_cannot_be_trained_takes_no_other_with_it(run_script, tmp_path, what):
    setting, bad, why = BAD[what]
    if what == "checkpoint":
        (tmp_path / "0").mkdir()
        (tmp_path / "0" / "last.ckpt").write_bytes(b"PK damaged")
    few = ["~callbacks.sheet", "callbacks.previews.at_steps=[]", "trainer.max_steps=4"]
    code, said = run_script("train", *TINY, *few, "launcher=packed", setting, f"hydra.sweep.dir={tmp_path}")
    assert code == 1 and "1 of 3 jobs are not finished" in said, said
    assert states(tmp_path) == {str(i): "failed" if i == bad else "finished" for i in range(3)}
    assert why in json.loads((tmp_path / str(bad) / "job.json").read_text())["error"]
    for i in {0, 1, 2} - {bad}:
        assert (tmp_path / str(i) / "learned_embeds.safetensors").is_file()


@pytest.mark.integration
def test_a_resumed_sweep_launches_what_is_missing_under_its_own_number(run_script, tmp_path):
    few = ["~callbacks.sheet", "callbacks.previews.at_steps=[]", "trainer.max_steps=2"]
    command = ["optim.lr=0.01,0.02,0.03", "launcher=packed", f"hydra.sweep.dir={tmp_path}"]
    assert run_script("train", *TINY, *few, *command)[0] == 0
    before = json.loads((tmp_path / "sweep.json").read_text())
    (tmp_path / "1" / "learned_embeds.safetensors").unlink()
    logs = [(tmp_path / job / "train.log").read_text() for job in "02"]
    code, said = run_script("train", f"sweep.resume={tmp_path}", "launcher=local")
    assert code == 0 and "2 of 3 jobs are already finished" in said, said
    assert "#1 : " in said and "#0 : " not in said and "#2 : " not in said
    assert (tmp_path / "1" / "learned_embeds.safetensors").is_file() and logs == [
        (tmp_path / job / "train.log").read_text() for job in "02"
    ]
    code, said = run_script("train", f"sweep.resume={tmp_path}", "optim.lr=0.04,0.02")  # one more, one known
    assert code == 0 and "1 of 2 jobs are already finished" in said and sorted(states(tmp_path)) == list("0123"), said
    after = json.loads((tmp_path / "sweep.json").read_text())
    assert after["id"] == before["id"] and [job["number"] for job in after["jobs"]] == [3, 1]


def test_a_job_on_several_devices_trains_alone():
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        configs = [compose("train", [*TINY, *more, "paths.run=nowhere"]) for more in ([], ["trainer.devices=2"])]
    keys = [pack_key(OmegaConf.create(OmegaConf.to_container(config, resolve=True))) for config in configs]
    assert keys[0] is not None and keys[1] is None


@pytest.mark.integration
def test_a_sweep_can_be_a_file(tmp_path):
    done = train("sweep=lr", "launcher=packed", "trainer.max_steps=2", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 0 and len(states(tmp_path)) == 5


@pytest.mark.integration
def test_a_packed_job_may_stop_on_its_plateau(tmp_path):
    settings = ["early_stop=plateau", "callbacks.early_stop.patience=1", "callbacks.early_stop.min_delta=10.0"]
    done = train(
        "launcher=packed", "concept.seed=0,1", "trainer.max_steps=50", *settings, f"hydra.sweep.dir={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    for job in "01":
        (word,) = load_words(tmp_path / job)
        assert word.provenance["steps"] == 4
