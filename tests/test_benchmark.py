"""`scripts/benchmark.py` writes down what it measured, on what."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_loading_is_measured_and_recorded(tmp_path):
    settings = ["case=loading", "case.gigabytes=0.1", f"hydra.run.dir={tmp_path}"]
    subprocess.run([sys.executable, "scripts/benchmark.py", *settings], cwd=ROOT, check=True, capture_output=True)
    record = json.loads((tmp_path / "results.json").read_text())
    assert set(record) == {"case", "settings", "hardware", "results"} and record["hardware"]["cores"] > 0
    for result in record["results"].values():
        assert result["peak"] > result["imports"] + 0.5 * result["file"]
    assert not list(tmp_path.glob("model.*"))
