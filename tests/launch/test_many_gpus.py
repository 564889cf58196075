"""A sweep of many jobs on a machine of eight GPUs. The GPUs are names in CUDA_VISIBLE_DEVICES; sweeper, launcher,
reservation and records are the real ones, and each job is a process of its own."""

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import filelock
import pytest

from launch import gpus
from launch.jobs import Job, as_it_ended

ROOT = Path(__file__).resolve().parents[2]
GPUS = [str(i) for i in range(8)]


def start(folder, *arguments):
    """Start jobs of gpu_job.py as a sweep."""
    machine = {"CUDA_VISIBLE_DEVICES": ",".join(GPUS), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "tests/launch/gpu_job.py", "launcher=joblib", *arguments, f"hydra.sweep.dir={folder}/sweep"],
        cwd=ROOT, env=os.environ | machine, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    )  # fmt: skip


def sweep(folder, *arguments):
    """Run a sweep; return its exit code, what it said, and number -> record of the GPU of its jobs."""
    process = start(folder, *arguments)
    said, _ = process.communicate(timeout=600)  # they take 40 seconds on 2 free cores
    records = {int(file.parent.name): json.loads(file.read_text()) for file in folder.glob("sweep/*/gpu.json")}
    return process.returncode, said, dict(sorted(records.items()))


def states(folder):
    return {int(file.parent.name): json.loads(file.read_text()) for file in folder.glob("sweep/*/job.json")}


def require_one_job_each(records):
    """No GPU had two jobs at one time, and every GPU was used."""
    assert {record["gpu"] for record in records.values()} == set(GPUS)
    for gpu in GPUS:
        held = sorted((record["begin"], record["end"]) for record in records.values() if record["gpu"] == gpu)
        assert all(before[1] <= after[0] for before, after in pairwise(held))


@pytest.mark.integration
def test_64_jobs_share_8_gpus_in_order_and_the_one_that_fails_stops_no_other(tmp_path):
    code, said, records = sweep(tmp_path, "seed=range(0,64)")
    assert code == 1, said
    assert records.keys() == set(range(64)) - {13}
    require_one_job_each(records)

    begins = [record["begin"] for record in records.values()]
    order = sorted(range(len(begins)), key=begins.__getitem__)
    assert all(abs(place - i) < len(GPUS) for i, place in enumerate(order))  # those that start together may swap
    ends = sorted(record["end"] for record in records.values())
    waits = [begin - max(end for end in ends if end <= begin) for begin in sorted(begins)[len(GPUS) :]]
    assert sorted(waits)[len(waits) // 2] < 2.0  # seconds from an end to the next start; 0.9 if busy

    total, failed, how = said.strip().splitlines()[-3:]
    assert "1 of 64 jobs are not finished" in total and "sweep.resume=" in how
    assert "#13 seed=13: failed: this job fails." in failed
    assert {n: job["state"] for n, job in states(tmp_path).items() if job["state"] != "finished"} == {13: "failed"}


@pytest.mark.integration
def test_a_killed_job_frees_its_gpu_and_the_sweep_goes_on(tmp_path):
    code, said, records = sweep(tmp_path, "seed=range(90,114)")
    assert code == 0 and "a job's process was killed" in said and "all 24 jobs are finished" in said, said
    assert {job["state"] for job in states(tmp_path).values()} == {"finished"} and len(records) == 24
    require_one_job_each(records)


@pytest.mark.integration
def test_a_killed_sweep_frees_its_gpus(tmp_path):
    process = start(tmp_path, "seed=range(200,208)")
    wait_until(lambda: sum(job["state"] == "running" for job in states(tmp_path).values()) == len(GPUS))
    locks = [filelock.FileLock(tmp_path / "textual_inversion_gpus" / f"{gpu}.lock") for gpu in GPUS]

    def free(lock):
        try:
            with lock.acquire(timeout=0.0):
                return True
        except filelock.Timeout:
            return False

    wait_until(lambda: not any(map(free, locks)))
    process.kill()
    wait_until(lambda: all(map(free, locks)))
    process.communicate()


def wait_until(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise TimeoutError


@pytest.mark.parametrize(
    ("named", "expected"),
    [("0,1", ["0", "1"]), (" 2, 3", ["2", "3"]), ("", []), ("-1", []), ("0,-1,1", ["0"]), ("GPU-8f", ["GPU-8f"])],
)
def test_the_gpus_are_those_that_cuda_would_use(monkeypatch, named, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert gpus.visible_gpus() == expected


def test_a_job_that_runs_no_more_without_saying_so_has_failed():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert as_it_ended(Job(0, [], "running", pid=gone.pid)).state == "failed"
    here = Job(0, [], "running")
    assert as_it_ended(here) == here
