"""What loggers get: real files of W&B and TensorBoard, read back."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from launch.tracking import Guarded, begin_anew, wandb_logger
from tests.tables import every

ROOT = Path(__file__).resolve().parents[2]
TINY = ["experiment=cat_toy", "debug=tiny", "trainer.max_steps=20", "trainer.val_check_interval=10"]


def train(*arguments: str) -> subprocess.CompletedProcess:
    """Run without an API key and without a terminal to ask for one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return subprocess.run(
        [sys.executable, "scripts/train.py", *TINY, *arguments],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip


def records(folder: Path, kind: str) -> list[dict]:
    """Return the records of one kind in the file of a W&B run."""
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    said = subprocess.run(inspect, capture_output=True, encoding="utf-8", check=True).stdout
    every = [json.loads(line) for line in said.splitlines()]
    return [record[kind] for record in every if record["type"] == kind]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps") / "rates"
    settings = ["logger=[wandb,tensorboard]", "optim.lr=0.01,0.02", "launcher=packed", "evaluation=quick"]
    evaluation = {"sampler.steps": 2, "evaluation.samples": 2, "evaluation.prompt_samples": 1}
    settings += [f"callbacks.evaluation.{key}={value}" for key, value in evaluation.items()]
    done = train(*settings, f"hydra.sweep.dir={folder}")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.integration
def test_every_job_of_a_sweep_is_a_run_named_by_what_varies(sweep):
    for job, rate in (("0", "0.01"), ("1", "0.02")):
        (run,) = records(sweep / job, "run")
        group = f"rates-{json.loads((sweep / 'sweep.json').read_text())['id']}"
        assert (run["project"], run["run_group"], run["display_name"]) == (
            "textual-inversion", group, f"optim.lr={rate}",
        )  # fmt: skip
        assert run["run_id"] == (sweep / job / "wandb_id.txt").read_text()
        config = records(sweep / job, "config")[0]["update"]
        assert str(config["optim"]["lr"]) == rate and config["concept"]["placeholder"] == "S*"
        assert [end["exit_code"] for end in records(sweep / job, "exit")] == [0]


@pytest.mark.integration
def test_a_run_has_metrics_pictures_and_the_learned_word(sweep):
    items = [record["item"] for record in records(sweep / "0", "history")]
    named = set(itertools.chain(*items))
    assert {"train/loss", "val/loss", "val/norm/S*", "lr", "samples_a_second"} <= named
    assert {name.split(".")[0] for name in named if name.endswith(".count")} == {"previews", "sheet"}
    assert [item["lr"] for item in items if "lr" in item] == [0.01] * 3  # the first step, 10 and 20
    own = [item["val/loss"] for item in items if "val/loss" in item]
    assert own == pytest.approx(pd.read_csv(sweep / "0" / "metrics.csv")["val/loss"].dropna().tolist(), rel=1e-5)
    (artifact,) = records(sweep / "0", "artifact")
    assert artifact["name"] == f"rates-0-{(sweep / '0' / 'wandb_id.txt').read_text()}"
    assert [content["path"] for content in artifact["manifest"]["contents"]] == ["learned_embeds.safetensors"]
    summary = {}
    for record in records(sweep / "0", "summary"):
        summary |= record["update"]
    assert "cat" in summary["nearest_words/S*"]
    result = json.loads((sweep / "0" / "evaluation.json").read_text())
    for name in ("image_similarity", "text_similarity"):
        assert summary[f"evaluation/{name}"] == pytest.approx(result[name])


@pytest.mark.integration
def test_an_evaluated_sweep_ends_in_one_table_and_one_plot(sweep):
    table = pd.read_csv(sweep / "results.csv")
    assert [*table["optim.lr"]] == [0.01, 0.02] and table["image_similarity"].between(-1, 1).all()
    assert (sweep / "results.png").stat().st_size and (sweep / "results.pdf").stat().st_size
    (run,) = records(sweep, "run")
    assert run["display_name"] == "results" and run["run_group"] == records(sweep / "0", "run")[0]["run_group"]
    named = set(itertools.chain(*(record["item"] for record in records(sweep, "history"))))
    assert {name.split(".")[0] for name in named} >= {"results", "plot"}


@pytest.mark.integration
def test_tensorboard_and_the_table_of_metrics_hold_the_same(sweep):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(sweep / "1" / "tensorboard"))
    board.Reload()
    assert {"train/loss", "val/loss", "lr"} <= set(board.Tags()["scalars"])
    assert set(board.Tags()["images"]) == {"previews", "sheet"}
    rates = pd.read_csv(sweep / "1" / "metrics.csv")["lr"].dropna().tolist()
    shown = [event.value for event in board.Scalars("lr")]
    assert set(rates) == {0.02} and shown == pytest.approx([0.02] * len(shown)) and shown


@pytest.mark.integration
def test_a_run_that_fails_says_so(tmp_path):
    done = train("logger=wandb", "optim.lr=1e38", "trainer.max_steps=60", f"hydra.run.dir={tmp_path}")
    assert done.returncode != 0
    assert [end["exit_code"] for end in records(tmp_path, "exit")] == [1]


@pytest.mark.integration
def test_a_resumed_run_stays_one_run(tmp_path):
    settings = {"entity": "us", "tags": ["a", "b"], "notes": "why"}
    ids = []
    for _ in range(2):
        logger = Guarded(wandb_logger(str(tmp_path), "project", "group", "name", **settings))
        run = logger.logger.experiment
        ids.append(run.id)
        assert run.tags == ("a", "b") and run.notes == "why" and run.entity == "us"
        (tmp_path / "word").write_text("x")
        logger.file("my run, J\u00f6rg's-0", "embedding", tmp_path / "word")
        logger.finish(0)
    begin_anew(tmp_path)
    logger = Guarded(wandb_logger(str(tmp_path), "project", "group", "name"))
    ids.append(logger.logger.experiment.id)
    logger.finish(0)
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.integration
def test_a_logger_that_cannot_work_is_said_once_and_stops_nothing(tmp_path):
    (tmp_path / "tensorboard").write_text("in the way")
    done = train("logger=tensorboard", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("TensorBoardLogger is disabled after an error") == 1
    assert (tmp_path / "contact_sheet.png").is_file()


@pytest.mark.parametrize("name", every(3, ["grid", "regularization", "setups"]))
def test_sweeps_for_the_agent_of_wandb_fit_our_configs(name):
    path = ROOT / "configs" / "wandb" / f"{name}.yaml"
    sweep = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert sweep["method"] in ("grid", "random", "bayes") and (ROOT / sweep["program"]).is_file()
    assert sweep["command"] == ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]
    choices = [
        [f"{name}={value}" for value in setting.get("values", [setting.get("value")])]
        for name, setting in sweep["parameters"].items()
    ]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        for i in range(max(map(len, choices))):  # every value of every setting, but not all their combinations
            compose("train", [*(values[i % len(values)] for values in choices), "paths.run=somewhere"])
