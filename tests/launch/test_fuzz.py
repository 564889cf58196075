"""Damaged files are read or refused, never anything else, at once and in proportionate memory; the long run is on
record."""

import json
import random
from pathlib import Path

import pytest
import torch

from launch.benchmarks.fuzz import DAMAGES, fuzz, samples
from ldm.weights.difference import Difference
from textual_inversion.noise_file import Noise

ROOT = Path(__file__).resolve().parents[2]


def require_harmless(results):
    for name, result in results.items():
        assert result["escapes"] == 0 and result["read"] + result["refused"] == result["files"], name
        assert result["most seconds"] < 2.0 and result["most extra bytes"] < 200e6, name


def test_damaged_files_are_read_or_refused(tmp_path):
    results = fuzz(tmp_path, files=1_500, seed=1)
    require_harmless(results)
    assert results.keys() == samples().keys() and not list(tmp_path.iterdir())
    assert all(result["refused"] > result["files"] / 2 for result in results.values())


@pytest.mark.slow
def test_very_many_damaged_files_are_read_or_refused(tmp_path):
    require_harmless(fuzz(tmp_path, files=100_000, seed=2))


def test_the_record_covers_every_reader():
    record = json.loads((ROOT / "assets" / "benchmarks" / "fuzz.json").read_text(encoding="utf-8"))
    require_harmless(record["results"])
    assert record["results"].keys() == samples().keys()
    assert sum(result["files"] for result in record["results"].values()) >= 100_000


def test_damaged_files_of_noise_and_of_differences_are_read_or_refused(tmp_path, monkeypatch):
    Noise(torch.ones(4, 8, 8), "a cat", 3, "ddim_timesteps", "0123").save(tmp_path / "noise")
    Difference({"out.0.weight": torch.ones(64).half()}, "tiny", "0123", {"steps": 3}).save(tmp_path / "difference")
    files = {"noise": Noise.load, "difference": Difference.load}
    found = {name: ((tmp_path / name).read_bytes(), load, name) for name, load in files.items()}
    monkeypatch.setattr("launch.benchmarks.fuzz.samples", lambda: found)
    (tmp_path / "escapes").mkdir()
    require_harmless(fuzz(tmp_path / "escapes", files=600, seed=3))


def test_an_escape_is_counted_and_its_file_kept(tmp_path, monkeypatch):
    content, read, file_name = samples()["sweep's record"]

    def fails_on_damage(path):
        return read(path) if path.read_bytes() == content else {}["a bug"]

    monkeypatch.setattr("launch.benchmarks.fuzz.samples", lambda: {"one": (content, fails_on_damage, file_name)})
    result = fuzz(tmp_path, files=5, seed=0)["one"]
    assert result["escapes"] == 5 and len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_changes_the_file(damage):
    content = bytes(range(1, 200))
    assert sum(damage(content, random.Random(seed)) != content for seed in range(20)) > 15
