"""Ctrl-C: the step is finished, the state is saved, and the printed command resumes without any difference."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.runs import vectors

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
STEPS = 200
JOB = ["experiment=cat_toy", "debug=tiny", "~callbacks.sheet", "callbacks.previews.at_steps=[]"]
JOB += [f"trainer.max_steps={STEPS}", "trainer.val_check_interval=50", "callbacks.checkpoint.every_steps=20"]
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "cwd": ROOT}
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}


def heed_ctrl_c():
    """Undo what a shell does to commands in its background: they ignore Ctrl-C, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(command):
    done = subprocess.run(command, **PIPES, env=ENVIRONMENT, check=False, timeout=300)
    assert done.returncode == 0, done.stdout


def interrupted(command, file, *, presses=1):
    """Send Ctrl-C to a command in its terminal once `file` exists; return its exit code and its output."""
    process = subprocess.Popen(command, **PIPES, env=ENVIRONMENT, start_new_session=True, preexec_fn=heed_ctrl_c)
    for _ in range(1200):
        if file.exists():
            break
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    for press in range(presses):
        if press:
            time.sleep(1.0)
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
    return process.wait(timeout=30), process.communicate()[0]


def to_paste(said, mark):
    (line,) = re.findall(rf"^.*{mark}: (.*)$", said, flags=re.MULTILINE)
    return line


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run([sys.executable, "scripts/train.py", *JOB, f"hydra.run.dir={folder}"])
    return folder


@pytest.mark.parametrize(
    "where", ["hydra.run.dir={}", "hydra.run.dir=${{fresh:{}}}", "hydra.run.dir='{} of J\u00f6rg, 2'"]
)
def test_the_command_that_is_printed_goes_on_bit_for_bit(undisturbed, tmp_path, where):
    folder = tmp_path / ("run of J\u00f6rg, 2" if "of" in where else "run")
    job = [sys.executable, "scripts/train.py", *JOB, where.format(tmp_path / "run")]
    code, said = interrupted(job, folder / "last.ckpt")
    assert code == 130 and "Traceback" not in said, said
    step = torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
    assert 20 <= step < STEPS and f"stopped at step {step}, by Ctrl-C; the state is saved" in said
    again = shlex.split(to_paste(said, "to continue"))
    assert ROOT / again[0] == Path(sys.executable) and again[1] == "scripts/train.py"
    run(again)
    assert torch.equal(vectors(folder), vectors(undisturbed))
    assert (folder / "metrics.csv").read_text() == (undisturbed / "metrics.csv").read_text()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("launcher", ["local", "packed"])
def test_a_sweep_stops_and_goes_on(undisturbed, tmp_path, launcher):
    sweep = [f"launcher={launcher}", "optim.lr=0.005,0.02", f"hydra.sweep.dir={tmp_path}"]
    code, said = interrupted([sys.executable, "scripts/train.py", *JOB, *sweep], tmp_path / "0" / "last.ckpt")
    assert code == 130 and "Traceback" not in said, said
    assert "2 of 2 jobs are not finished" in said and "by Ctrl-C; the state is saved" in said
    state = json.loads((tmp_path / "0" / "job.json").read_text())["state"]
    assert state == "stopped" and (tmp_path / "1" / "last.ckpt").exists() == (launcher == "packed")
    step = torch.load(tmp_path / "0" / "last.ckpt", weights_only=True)["global_step"]
    assert 20 <= step < STEPS
    run(shlex.split(to_paste(said, "to run them")))
    states = [json.loads((tmp_path / job / "job.json").read_text())["state"] for job in "01"]
    assert states == ["finished", "finished"]
    assert "resum" in (tmp_path / "0" / "train.log").read_text(encoding="utf-8")


SLOW = """
import pathlib, runpy, sys, time
from textual_inversion.learner import TextualInversion

def wait(*_):
    pathlib.Path({file!r}).touch()
    time.sleep(60)

TextualInversion.{method} = wait
sys.argv[0] = "scripts/train.py"
runpy.run_path("scripts/train.py", run_name="__main__")
"""


def slow(method, file, folder):
    """A training that hangs in `method` for a minute, after it has created `file`."""
    program = SLOW.format(method=method, file=str(file))
    return [sys.executable, "-c", program, *JOB, f"hydra.run.dir={folder}"]


def test_a_second_press_ends_at_once(tmp_path):
    command = slow("training_step", tmp_path / "there", tmp_path / "run")
    assert interrupted(command, tmp_path / "there", presses=2)[0] == -signal.SIGINT


def test_before_the_first_step_it_just_ends(tmp_path):
    code, said = interrupted(slow("on_fit_start", tmp_path / "there", tmp_path / "run"), tmp_path / "there")
    assert code == 130 and said.count("stopped by Ctrl-C") == 1 and "Traceback" not in said, said
    assert "to continue" not in said
