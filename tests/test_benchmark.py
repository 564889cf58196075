"""`scripts/benchmark.py` writes down what it measured, on what."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def measure(folder: Path, *settings: str) -> dict[str, dict[str, float]]:
    command = [sys.executable, "scripts/benchmark.py", *settings, f"hydra.run.dir={folder}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    record = json.loads((folder / "results.json").read_text())
    assert set(record) == {"case", "settings", "hardware", "results"} and record["hardware"]["cores"] > 0
    return record["results"]


def test_loading_is_measured_and_recorded(tmp_path):
    for result in measure(tmp_path, "case=loading", "case.gigabytes=0.1").values():
        assert result["peak"] > result["imports"] + 0.5 * result["file"]
    assert not list(tmp_path.glob("model.*"))


def test_inversion_is_measured_against_diffusers(tmp_path):
    results = measure(tmp_path, "case=inversion", "case.packs=[1,2]", "case.rounds=1", "case.steps=1")
    assert set(results) == {"diffusers", "pack of 1", "pack of 2", "machine"}
    two = results["pack of 2"]
    assert two["ms"] == 2 * two["ms_per_concept"] > 0 and 0 < two["share_of_matrix_rate"] < 1
    assert two["times_faster_than_diffusers"] == results["diffusers"]["ms"] / two["ms_per_concept"]


def test_sampling_is_measured_against_diffusers(tmp_path):
    results = measure(tmp_path, "case=sampling", "case.pictures=1", "case.steps=2", "case.rounds=1")
    assert set(results) == {"diffusers", "ddim, 2 steps", "dpm_solver, 15 steps"}
    assert all(result["seconds"] > 0 for result in results.values())
