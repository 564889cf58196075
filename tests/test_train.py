"""The main job as a user runs it: from a folder of images to a word, images of it and the next command."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from textual_inversion import callbacks
from textual_inversion.learner import TextualInversion
from textual_inversion.words.file import load_words

ROOT = Path(__file__).resolve().parents[1]
TINY = ["experiment=cat_toy", "debug=tiny"]


def save_photos(folder):
    folder.mkdir()
    for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3), dtype=np.uint8)):
        Image.fromarray(image).save(folder / f"{i}.jpg")
    return folder


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """The arguments of a job on a user's folder that also has a text file, for a placeholder with brackets."""
    photos = save_photos(tmp_path_factory.mktemp("user") / "photos")
    (photos / "notes.txt").write_text("my cat\n")
    return [*TINY, f"concept.images={photos}", "concept.initializer=owl", 'concept.placeholder="<cat-toy>"']


@pytest.fixture(scope="module")
def finished(tmp_path_factory, job):
    """Run the job in its own process; return the run folder and the output."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    command = [sys.executable, "scripts/train.py", *job, f"hydra.run.dir={run}"]
    utf8 = os.environ | {"PYTHONUTF8": "1"}
    done = subprocess.run(command, cwd=ROOT, env=utf8, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return run, done.stdout, done.stderr


def metrics(run):
    with (run / "metrics.csv").open(newline="") as table:
        return list(csv.DictReader(table))


def test_the_run_folder_holds_the_word_and_how_it_came_about(finished):
    run, said, bar = finished
    made = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert made == {
        "config.yaml", "contact_sheet.png", "last.ckpt", "learned_embeds.safetensors", "metrics.csv",
        "previews/0-00000.png", "previews/0-00006.png", "products.json", "train.log",
    }  # fmt: skip
    config = OmegaConf.load(run / "config.yaml")
    assert config == OmegaConf.create(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    (word,) = load_words(run, width=16)
    facts = {"initializer": "owl", "steps": config.trainer.max_steps, "seed": config.seed, "model": config.name}
    assert word.placeholder == "<cat-toy>" and facts.items() <= word.provenance.items()
    rows = metrics(run)
    assert [row["step"] for row in rows] == list("123456")
    assert all(row["train/loss"] for row in rows)
    assert [row["step"] for row in rows if row["val/loss/<cat-toy>"]] == list("246")
    assert "skipped" in said and "notes.txt: not a picture" in said
    assert "step/s" in bar and "train/loss=" in bar
    assert (run / "train.log").read_text(encoding="utf-8") == said
    assert "Warning" not in bar and "not empty" not in bar


def test_the_last_lines_say_where_everything_is_and_a_command_that_works(finished, run_script, tmp_path):
    run, said, _ = finished
    *_, sheet, word, again = said.splitlines()
    for line, name in ((sheet, "contact_sheet.png"), (word, "learned_embeds.safetensors")):
        assert (ROOT / line.split(": ", 1)[1].strip()).resolve() == run / name
    python, script, *arguments = shlex.split(again.split(": ", 1)[1])
    assert ROOT / python == Path(sys.executable) and script == "scripts/generate.py"
    settings = ["sampler.steps=1", "count=2", f"hydra.run.dir={tmp_path / 'generated'}"]
    code, said = run_script("generate", *arguments, *settings)
    assert code == 0, said
    assert {path.name for path in (tmp_path / "generated").glob("*.png")} == {"00-00.png", "00-01.png", "sheet.png"}


# The checkpoint is from the step before a validation, as in the real job.
def test_a_run_that_was_killed_goes_on_to_the_same_word_to_the_bit(finished, job, run_script, tmp_path, monkeypatch):
    whole, run = finished[0], tmp_path / "run"
    train = TextualInversion.training_step

    def killed(self, batch, batch_idx):
        if self.global_step == 5:
            raise RuntimeError("killed")
        return train(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(TextualInversion, "training_step", killed)
        code, said = run_script("train", *job, f"hydra.run.dir={run}")
    assert code and "killed" in said
    assert [row["step"] for row in metrics(run)] == list("12345")
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 4
    assert not (run / "contact_sheet.png").exists()

    code, said = run_script("train", *job, f"hydra.run.dir={run}")
    assert code == 0, said
    assert f"resuming from {run / 'last.ckpt'}" in said
    (expected,), (resumed,) = load_words(whole), load_words(run)
    assert torch.equal(expected.vectors, resumed.vectors)
    assert metrics(run) == metrics(whole)


# The state of the last step is saved before the sheet is drawn.
def test_what_was_lost_after_the_last_step_is_made_by_the_same_command(run_script, tmp_path, monkeypatch):
    run = tmp_path / "run"
    job = [*TINY, f"hydra.run.dir={run}"]
    draw, drawn = callbacks.save_sheet, []

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "save_sheet", killed)
        code, said = run_script("train", *job)
    assert code == 130 and "to continue" in said
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 6
    assert not (run / "contact_sheet.png").exists()

    monkeypatch.setattr(callbacks, "save_sheet", lambda *given: (drawn.append(given), draw(*given)))
    for _ in range(2):
        code, said = run_script("train", *job)
        assert code == 0 and "contact sheet: " in said
        assert (run / "contact_sheet.png").is_file() and len(drawn) == 1
    code, said = run_script("train", *job, "trainer.max_steps=8")
    assert code == 0 and len(drawn) == 2  # another word, another sheet
    code, said = run_script("train", *TINY, "callbacks.sheet=null", f"hydra.run.dir={tmp_path / 'other'}")
    assert code == 0 and "contact sheet" not in said


@pytest.fixture
def folder(tmp_path):
    """Return a builder of folders from which no word can be learned."""

    def build(kind):
        if kind == "empty":
            (tmp_path / "empty").mkdir()
        if kind == "broken":
            photo = save_photos(tmp_path / "broken") / "1.jpg"
            photo.write_bytes(photo.read_bytes()[:300])
        return tmp_path / kind

    return build


@pytest.mark.parametrize(
    ("arguments", "what", "remedy"),
    [
        (["concept.images={empty}"], "no pictures in {empty} (it is empty)", "Put 3 to 5 pictures"),
        (["concept.images={missing}"], "there is no folder {missing}", "Put 3 to 5 pictures"),
        (["concept.images={broken}"], "{broken}/1.jpg is a JPEG that cannot be decoded", "replace it, or remove it"),
        (["concept.initializer=teapott"], "the initializer 'teapott' is no word", "near it are teapot"),
        (["concept.templates=[a photo]"], "'a photo' holds {{}} 0 times", "it must stand there once"),
        (["+module.weight=1"], "got an unexpected keyword argument 'weight'", "TextualInversion"),
        (["callbacks.sheet.prompts=[a cat]"], "the template 'a cat' has no {{}}", "where 'the new word' could go"),
        (["resume={missing}/last.ckpt"], "resume={missing}/last.ckpt: the checkpoint does not", "to start anew"),
    ],
)
def test_a_mistake_ends_in_one_sentence_and_leaves_nothing(folder, run_script, tmp_path, arguments, what, remedy):
    places = {kind: folder(kind) for kind in ("empty", "missing", "broken")}
    given = [argument.format(**places) for argument in arguments]
    code, said = run_script("train", *TINY, *given, f"hydra.run.dir={tmp_path / 'runs' / 'run'}")
    assert code == 1
    (sentence,) = re.findall(r"^error: (.*)$", said, flags=re.MULTILINE)
    assert what.format(**places) in sentence and remedy in sentence
    assert "Traceback" not in said
    assert not (tmp_path / "runs" / "run").exists()


@pytest.mark.integration
def test_a_run_from_another_folder_lies_there_under_the_name_of_its_concept(tmp_path):
    call = [sys.executable, str(ROOT / "scripts" / "train.py"), "experiment=cat_toy", "concept=owl_toy", "debug=tiny"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs" / "owl_toy").iterdir()
    assert (run / "learned_embeds.safetensors").is_file() and [p.name for p in tmp_path.iterdir()] == ["runs"]
