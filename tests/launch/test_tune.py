"""scripts/tune.py with the tiny model, and the commands that load its difference file."""

import re

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from launch import CONFIGS
from launch.model import load_frozen
from ldm.weights.difference import Difference
from ldm.weights.fingerprint import weights_hash
from textual_inversion.words.file import FILE_NAME, LearnedWord

FEW = ("debug=tiny", "sampler.steps=2")


@pytest.fixture
def given(tmp_path):
    """A word, a folder of two images, and a file that is no difference."""
    LearnedWord("S*", torch.ones(1, 16), {"initializer": "cat"}).save(tmp_path / FILE_NAME)
    LearnedWord("U*", torch.ones(1, 16)).save(tmp_path / "untold.safetensors")
    LearnedWord("W*", torch.ones(1, 1280), {"initializer": "cat"}).save(tmp_path / "wide.safetensors")
    images = tmp_path / "images"
    images.mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{i}.png")
    (tmp_path / "text").write_text("no difference\n")
    return {"tmp": tmp_path, "word": tmp_path / FILE_NAME, "images": images, "text": tmp_path / "text"}


@pytest.fixture
def run(run_script, tmp_path):
    def run(name, *settings, into="out"):
        return *run_script(name, *FEW, *settings, f"hydra.run.dir={tmp_path / into}"), tmp_path / into

    return run


@pytest.fixture
def tune(run, given):
    settings = (f"word={given['word']}", f"images={given['images']}", "steps=3", "learning_rate=0.01", "count=2")
    return lambda *more, into="tuned": run("tune", *settings, *more, into=into)


def pictures(folder):
    return [np.asarray(Image.open(path)) for path in sorted(folder.glob("0*.png"))]


@pytest.mark.integration
def test_the_difference_changes_what_is_generated_and_without_it_nothing_is_changed(tune, run, given):
    generate = ("generate", f"word={given['word']}", "prompt=a photo of S*", "count=2")
    code, said, before = run(*generate, into="before")
    assert code == 0, said
    code, said, tuned = tune()
    assert code == 0, said
    assert re.search(r"difference.safetensors: 0.\d MB, \d+ of the model's \d+ tensors", said) and "use it: " in said
    for into, more, changed in (("tuned pictures", [f"difference={tuned}"], True), ("without", [], False)):
        code, said, folder = run(*generate, *more, into=into)
        assert code == 0, said
        pairs = zip(pictures(before), pictures(folder), strict=True)
        assert [not np.array_equal(one, other) for one, other in pairs] == [changed, changed], into


@pytest.mark.parametrize("name", ["generate", "evaluate", "edit", "invert", "read_word"])
def test_every_command_with_words_loads_the_difference(name, tmp_path):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(name, ["debug=tiny", f"paths.assets={CONFIGS.parent / 'assets'}"])
    plain, tuned = load_frozen(config), load_frozen(config)
    next(tuned.unet.parameters()).data += 0.01
    Difference.between(plain, tuned, {}).save(tmp_path / "difference")
    assert weights_hash(load_frozen(config)) == weights_hash(plain)
    config.difference = str(tmp_path / "difference")
    assert weights_hash(load_frozen(config)) != weights_hash(plain)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (["word={tmp}/none"], "there are no learned words at"),
        (["word={tmp}/wide.safetensors"], "has 1280 numbers per vector, the model's words have 16"),
        (["word={tmp}/untold.safetensors"], "does not name its initializer: learn the word again"),
        (["images={tmp}/none"], "there is no folder"),
        (["images=null"], "which pictures was the word learned from? Give images=<folder>"),
        (["steps=0"], "steps is 0"),
        (["learning_rate=0"], "learning_rate is 0"),
        (["learning_rate=1e-30"], "has changed nothing: raise the learning rate"),
        (["prompt=a photo of S*"], "has no {}"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(tune, given, settings, what):
    code, said, folder = tune(*(setting.format(**given) for setting in settings))
    assert code == 1 and not folder.exists(), said
    (sentence,) = re.findall(r"^error: (.*)$", said, flags=re.MULTILINE)
    assert what in sentence and "Traceback" not in said


@pytest.mark.parametrize(
    ("difference", "what"),
    [
        ("{tmp}/none", "there is no difference at"),
        ("{images}", "there is no difference at"),
        ("{text}", "is a text file"),
        ("{word}", "holds no difference"),
    ],
)
def test_what_is_no_difference_is_refused_in_one_sentence(run, given, difference, what):
    code, said, folder = run("generate", "prompt=a cat", f"difference={difference.format(**given)}")
    assert code == 1 and not folder.exists(), said
    (sentence,) = re.findall(r"^error: (.*)$", said, flags=re.MULTILINE)
    assert what in sentence and "Traceback" not in said
