"""Several processes, started and stopped as a user and a cluster do."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import psutil
import pytest
import torch

from ldm.weights.checkpoint import read_weights
from tests.runs import vectors

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
STEPS = 30
JOB = [
    "experiment=cat_toy",
    "debug=tiny",
    f"trainer.max_steps={STEPS}",
    "trainer.val_check_interval=10",
    "~callbacks.sheet",
]
JOB += ["callbacks.checkpoint.every_steps=5", "callbacks.previews.at_steps=[]"]
TWO = ["trainer=ddp", "trainer.devices=2", "module.batch_size=2"]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "scripts/train.py", *JOB, *arguments]


def train(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, encoding="utf-8", env=ONE_THREAD, check=False, timeout=300
    )


def start(*arguments: str) -> subprocess.Popen:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command(*arguments), cwd=ROOT, env=ONE_THREAD, **quiet)


def wait_for(file: Path, process: subprocess.Popen) -> None:
    for _ in range(1200):
        if file.exists():
            return
        assert process.poll() is None
        time.sleep(0.05)
    raise TimeoutError(file)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The result of one uninterrupted process with a batch of four."""
    folder = tmp_path_factory.mktemp("alone")
    done = train("module.batch_size=4", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The result of two uninterrupted processes with batches of two."""
    folder = tmp_path_factory.mktemp("together")
    done = train(*TWO, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_learn_what_one_learns(alone, together):
    assert (vectors(together) - vectors(alone)).norm() < 1e-6 * vectors(alone).norm()
    files = [sorted(path.name for path in run.iterdir()) for run in (together, alone)]
    assert files[0] == files[1]
    assert (together / "train.log").read_text(encoding="utf-8").count("learning S* from") == 1


def test_torchrun_does_the_same(together, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    call = [*torchrun, *command(*TWO, f"hydra.run.dir={tmp_path}")[1:]]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, encoding="utf-8", env=ONE_THREAD, check=False)
    assert done.returncode == 0, done.stderr
    assert torch.equal(vectors(tmp_path), vectors(together))


def test_in_a_sweep_every_job_is_trained_once_by_its_own_processes(tmp_path):
    done = train(*TWO, "trainer.max_steps=20", "optim.lr=0.01,0.02", "launcher=local", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    for job, rate in (("0", "0.01"), ("1", "0.02")):
        said = (tmp_path / job / "train.log").read_text(encoding="utf-8")
        assert said.count("learning S* from") == 1 and f"learning rate {rate}" in said
        assert json.loads((tmp_path / job / "job.json").read_text())["state"] == "finished"
    assert not torch.equal(vectors(tmp_path / "0"), vectors(tmp_path / "1"))


@pytest.mark.parametrize("victim", ["the command", "rank 0", "rank 1"])
def test_after_the_death_of_any_process_the_same_command_ends_in_the_same_vectors(together, tmp_path, victim):
    job = [*TWO, f"hydra.run.dir={tmp_path}"]
    process = start(*job)
    wait_for(tmp_path / "last.ckpt", process)
    ranks = [child for child in psutil.Process(process.pid).children() if "launch.rank" in " ".join(child.cmdline())]
    ranks.sort(key=lambda child: int(child.environ()["RANK"]))
    assert len(ranks) == 2
    {"the command": process, "rank 0": ranks[0], "rank 1": ranks[1]}[victim].kill()
    assert process.wait(timeout=60) != 0
    again = train(*job)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "resuming from" in (tmp_path / "train.log").read_text(encoding="utf-8")
    assert torch.equal(vectors(tmp_path), vectors(together))


@pytest.mark.parametrize("processes", ["one", "two"])
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGUSR1", 143), ("SIGINT", 130)])
def test_told_to_stop_it_saves_its_state_and_goes_on_bit_for_bit(alone, together, tmp_path, name, code, processes):
    shape = TWO if processes == "two" else ["module.batch_size=4"]
    job = [*shape, f"hydra.run.dir={tmp_path}", "callbacks.checkpoint.every_steps=10"]
    process = start(*job)
    wait_for(tmp_path / "last.ckpt", process)
    process.send_signal(getattr(signal, name))
    assert process.wait(timeout=60) == code
    step = torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"]
    assert 10 <= step < STEPS and f"stopped at step {step}, by" in (tmp_path / "train.log").read_text()
    assert train(*job).returncode == 0
    expected = together if processes == "two" else alone
    assert torch.equal(vectors(tmp_path), vectors(expected))
    assert (tmp_path / "metrics.csv").read_text() == (expected / "metrics.csv").read_text()


def test_a_pretraining_of_two_processes_goes_on_bit_for_bit_and_with_no_other_number_of_them(tmp_path):
    """The first process renders and encodes the images for both. Each draws batches and noise of its own."""

    def pretrain(run: str, *arguments: str) -> subprocess.CompletedProcess:
        few = ["pictures.train.count=8", "pictures.val.count=4", "data.val_size=2", "trainer.val_check_interval=2"]
        call = [
            sys.executable,
            "scripts/train.py",
            "experiment=toyland_ldm",
            *few,
            "module.schedule.total=4",
            *arguments,
        ]
        call += [f"paths.cache={tmp_path}/cache", f"hydra.run.dir={tmp_path}/{run}", "callbacks.samples=null"]
        return subprocess.run(call, cwd=ROOT, capture_output=True, encoding="utf-8", env=ONE_THREAD, check=False)

    two = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "data.batch_size=2"]
    for run, steps in (("whole", 4), ("halves", 2), ("halves", 4)):
        done = pretrain(run, *two, f"trainer.max_steps={steps}")
        assert done.returncode == 0, done.stdout + done.stderr
    whole, halves = (read_weights(tmp_path / run / "weights") for run in ("whole", "halves"))
    assert all(torch.equal(value, halves[name]) for name, value in whole.items())
    refused = pretrain("halves", "data.batch_size=4", "trainer.max_steps=6")
    assert refused.returncode == 1 and "processes was 2 and is 1" in refused.stdout + refused.stderr


def test_a_second_process_in_the_same_folder_waits_for_the_first_to_end(alone, tmp_path):
    with filelock.FileLock(tmp_path / ".lock"):
        job = ["module.batch_size=4", f"hydra.run.dir={tmp_path}"]
        waiting = subprocess.Popen(command(*job), cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", env=ONE_THREAD)
        assert "another process is working in" in waiting.stdout.readline()
    waiting.communicate()
    assert waiting.returncode == 0
    assert torch.equal(vectors(tmp_path), vectors(alone))


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path):
    probe = "import sys; from launch.folders import fresh; print(fresh(sys.argv[1]))"
    call = [sys.executable, "-c", probe, str(tmp_path / "run")]
    started = [subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8") for _ in range(4)]
    folders = {process.communicate()[0].strip() for process in started}
    assert folders == {str(tmp_path / name) for name in ("run", "run-2", "run-3", "run-4")}
    assert all(Path(folder).is_dir() for folder in folders)


def test_jobs_of_one_machine_take_a_gpu_each(tmp_path):
    probe = (
        "import os, sys; from launch import gpus; gpus.take_one(); "
        "print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); sys.stdin.read()"
    )
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "3,5", "TMPDIR": str(tmp_path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}

    def job():
        return subprocess.Popen([sys.executable, "-c", probe], cwd=ROOT, env=environment, **pipes)

    first, second = job(), job()
    assert {first.stdout.readline().strip(), second.stdout.readline().strip()} == {"3", "5"}
    refused = job()
    assert "all of the GPUs 3, 5 are taken by other jobs" in refused.communicate()[1]
    first.communicate()
    third = job()
    assert third.stdout.readline().strip() in ("3", "5")
    for process in (second, third):
        process.communicate()
