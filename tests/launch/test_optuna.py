"""`sweep=optuna`: Optuna chooses the settings of each job by what the earlier ones gave."""

import importlib.util
import json
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from launch.objective import objective
from ldm.errors import UserError
from tests.conftest import ROOT

INSTALLED = importlib.util.find_spec("optuna") is not None
TINY = ["experiment=cat_toy", "debug=tiny", "~callbacks.sheet", "callbacks.previews.at_steps=[]"]


@pytest.mark.skipif(INSTALLED, reason="Optuna is installed")
def test_without_the_extra_one_sentence_says_what_to_install(run_script):
    code, said = run_script("train", *TINY, "sweep=optuna")
    assert code == 1 and said.strip() == "error: sweep=optuna needs Optuna: pip install -e '.[optuna]' installs it."


@pytest.mark.integration
@pytest.mark.skipif(not INSTALLED, reason="Optuna is not installed: pip install -e '.[optuna]'")
def test_a_search_trains_packs_and_names_the_best_job(tmp_path):
    """Two rounds of two jobs; each round is a pack. A job with a rate of 1e30 would fail and stop no other."""
    search = ["sweep=optuna", "launcher=packed", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2"]
    space = "hydra.sweeper.params={optim.lr: 'choice(0.01,0.02,1e30)'}"
    command = [sys.executable, "scripts/train.py", *TINY, *search, space, f"hydra.sweep.dir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = {str(i): json.loads((tmp_path / str(i) / "job.json").read_text()) for i in range(4)}
    finished = [number for number, job in jobs.items() if job["state"] == "finished"]
    found = OmegaConf.load(tmp_path / "optimization_results.yaml")
    losses = {number: loss_of(tmp_path / number) for number in finished}
    assert found.best_value == min(losses.values()) and "training together" in done.stdout
    best = min(losses, key=losses.get)
    assert f"optim.lr={found.best_params['optim.lr']}" in jobs[best]["overrides"]


def loss_of(folder, *names):
    config = {"paths": {"run": str(folder)}, "job": {"objective": list(names) or ["val/loss"]}}
    return objective(OmegaConf.create(config))


def test_a_search_reads_the_last_of_each_number(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,train/loss,val/loss\n1,0.5,\n2,0.4,0.75\n3,0.3,\n", encoding="utf-8")
    assert loss_of(tmp_path) == 0.75 and loss_of(tmp_path, "val/loss", "train/loss") == [0.75, 0.3]
    with pytest.raises(UserError, match=r"has no image_similarity. It has step, train/loss, val/loss"):
        loss_of(tmp_path, "image_similarity")
