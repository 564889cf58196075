"""A resumed training is what it says: settings that shape its result do not change on the way without a word."""

import csv
import shutil

import pytest
import torch
from hydra import compose, initialize_config_dir

from launch.reproduction import hashes
from launch.resumption import references
from ldm.training.resumption import read_state
from tests.conftest import ROOT
from tests.runs import vectors
from textual_inversion import learner
from textual_inversion.words.file import load_words

PICTURES = ROOT / "assets" / "concepts" / "cat_toy"
TINY = ["experiment=cat_toy", "debug=tiny", "~callbacks.sheet", "callbacks.previews.at_steps=[]"]
TINY += ["concept.seed=3", "trainer.max_steps=4"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return {}


@pytest.fixture
def halfway(run_script, tmp_path, trained):
    """A run folder with the state of step 4, learned from a folder of pictures beside it."""
    first = trained.get("folder")
    if first is None:
        first = tmp_path / "first"
        shutil.copytree(PICTURES, first / "pictures")
        code, said = run_script("train", *TINY, f"concept.images={first}/pictures", f"hydra.run.dir={first}/run")
        assert code == 0, said
        trained["folder"] = first
    shutil.copytree(first, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def go_on(run_script, halfway):
    def run(*settings):
        places = [f"concept.images={halfway}/pictures", f"hydra.run.dir={halfway}/run"]
        return run_script("train", *TINY, *places, *settings)

    return run


@pytest.mark.parametrize(
    ("setting", "named", "said_of_it"),
    [
        ("optim.lr=0.5", "optim.lr", "optim.lr was 0.03 and is 0.5"),
        ("optim=high", "optim.lr", "optim.lr was 0.03 and is 0.12"),
        ("module.batch_size=2", "module.batch_size", "module.batch_size was 4 and is 2"),
        ("concept.templates=['one {}']", "concept.templates", "concept.templates (other sentences)"),
        ("concept.first=2", "concept.images", "concept.images (other pictures)"),
        ("concept.seed=4", "concept.seed", "concept.seed was 3 and is 4"),
        ("concept.initializer=owl", "concept.initializer", 'concept.initializer was "cat" and is "owl"'),
        ("module.weight_decay=0.1", "module.weight_decay", "module.weight_decay was 0.0 and is 0.1"),
        ("setup=regularized", "concept.setup", "concept.setup"),
    ],
)
def test_another_setting_is_refused_by_its_name(halfway, go_on, setting, named, said_of_it):
    before = {
        path: path.read_bytes() for path in (halfway / "run").iterdir() if path.is_file() and path.suffix != ".log"
    }
    code, said = go_on(setting, "trainer.max_steps=6")
    assert code == 1 and "last.ckpt was trained with other settings: " in said and said_of_it in said, said
    assert f"resume.accept=[{named}" in said and "resume=null" in said and "Traceback" not in said
    assert {path: path.read_bytes() for path in before} == before


def test_what_does_not_shape_the_result_may_change(halfway, go_on, run_script, tmp_path):
    (halfway / "pictures" / "notes.txt").write_text("mine")
    code, said = go_on("trainer.max_steps=6", "trainer.val_check_interval=3", "callbacks.previews.at_steps=[5]")
    assert code == 0 and "resuming from" in said, said
    whole = [*TINY, f"concept.images={PICTURES}", "trainer.max_steps=6", f"hydra.run.dir={tmp_path / 'whole'}"]
    code, said = run_script("train", *whole)
    assert code == 0 and torch.equal(vectors(halfway / "run"), vectors(tmp_path / "whole"))


def test_an_accepted_setting_is_obeyed_and_told(halfway, go_on):
    code, said = go_on("trainer.max_steps=6", "optim.lr=0.5", "resume.accept=[optim.lr]")
    assert code == 0, said
    with (halfway / "run" / "metrics.csv").open(newline="") as table:
        assert [float(row["lr"]) for row in csv.DictReader(table)] == [0.03] * 4 + [0.5] * 2
    (word,) = load_words(halfway / "run")
    assert word.provenance["learning_rate"] == 0.5
    assert word.provenance["changes"] == [{"step": 4, "optim.lr": [0.03, 0.5]}]
    state = read_state(halfway / "run" / "last.ckpt")
    assert state["settings"]["module.concepts.0.learning_rate"] == 0.5
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] == 0.5
    code, said = go_on("trainer.max_steps=7", "optim.lr=0.5")  # now it is the run's own
    assert code == 0, said
    assert load_words(halfway / "run")[0].provenance["changes"] == word.provenance["changes"]


@pytest.mark.parametrize("setting", ["concept.num_vectors=2", "concept.placeholder='<cat>'"])
def test_what_the_state_is_not_of_cannot_be_accepted(halfway, go_on, setting):
    before = (halfway / "run" / "last.ckpt").read_bytes()
    code, said = go_on("trainer.max_steps=6", setting, f"resume.accept=[{setting.split('=')[0]}]")
    assert code == 1 and "last.ckpt" in said and "resume=null" in said and "this is a bug" not in said, said
    assert (halfway / "run" / "last.ckpt").read_bytes() == before


def test_to_start_anew_needs_no_leave(halfway, go_on):
    code, said = go_on("optim.lr=0.5", "resume=null")
    assert code == 0 and "resuming" not in said, said
    assert "changes" not in load_words(halfway / "run")[0].provenance


def test_settings_are_known_by_the_names_that_a_command_sets():
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        found = references(compose("train", ["experiment=cat_toy", "optim.lr=0.5"]))
    assert found["module.concepts.0"] == "concept" and found["concept.learning_rate"] == "optim.lr"
    assert found["module.batch_size"] == "samples_a_step" and "optim.lr" not in found


def test_words_of_an_older_learning_are_not_reused(monkeypatch):
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("train", ["experiment=cat_toy", "debug=tiny", "paths.run=somewhere"])
    assert learner.VERSION == 1
    first = hashes.train_hash(config)
    monkeypatch.setattr(learner, "VERSION", 2)
    assert hashes.train_hash(config) != first
