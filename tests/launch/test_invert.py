"""scripts/invert.py with the tiny model."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tables import every
from textual_inversion.words.file import FILE_NAME, LearnedWord

FEW = ("debug=tiny", "sampler.steps=4")


@pytest.fixture
def given(tmp_path):
    """A picture, a file that is none, and a word."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    (tmp_path / "text").write_text("no picture\n")
    LearnedWord("S*", torch.ones(1, 16)).save(tmp_path / FILE_NAME)
    LearnedWord("W*", torch.ones(1, 1280)).save(tmp_path / "wide")
    return {"tmp": tmp_path, "image": tmp_path / "image.png", "text": tmp_path / "text", "word": tmp_path / FILE_NAME}


@pytest.fixture
def invert(run_script, tmp_path):
    def run(*settings, into="out"):
        return *run_script("invert", *FEW, *settings, f"hydra.run.dir={tmp_path / into}"), tmp_path / into

    return run


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_noise_makes_the_picture_again_and_others_under_other_words(invert, given):
    settings = (f"image={given['image']}", f"word={given['word']}", "source=a photo of S*")
    code, said, first = invert(*settings, "prompt=a dog on the moon", "guidance=3")
    assert code == 0, said
    numbers = json.loads((first / "inversion.json").read_text())
    assert f"made again in 4 steps: PSNR {numbers['psnr']:.1f} dB; the autoencoder alone gives" in said
    assert np.array_equal(pixels(first / "image.png"), pixels(given["image"]))
    (other,) = numbers["prompts"]
    assert (
        f'"a dog on the moon": its brightness correlates with the picture by {other["brightness_correlation"]:.2f}'
        in said
    )
    assert not np.array_equal(pixels(first / "00.png"), pixels(first / "again.png"))

    noise = f"noise={first}"
    code, said, second = invert(
        noise, f"word={given['word']}", "prompt=[a dog on the moon,S*]", "guidance=3", into="two"
    )
    assert code == 0, said
    for name in ("again.png", "00.png"):
        assert np.array_equal(pixels(second / name), pixels(first / name)), name
    assert (second / "01.png").exists() and not (second / "noise.safetensors").exists()


@pytest.mark.parametrize(
    ("settings", "what"),
    every(
        4,
        [
            ([], "image has no value: add image="),
            (["image={text}"], "is named like a picture but holds none"),
            (["image={tmp}/none.png"], "none.png cannot be read"),
            (["image={image}", "noise={text}"], "noise and image are both given"),
            (["noise={text}"], "is a text file, not weights"),
            (["noise={word}"], "is not the noise of a picture"),
            (["noise={tmp}/none"], "there is no noise at"),
            (["image={image}", "source=a photo of S*"], "mentions S*, but no learned word is given"),
            (["image={image}", "prompt=a photo of <owl>", "word={word}", "source=S*"], "mentions <owl>"),
            (["image={image}", "prompt=a dog", "word={word}"], "neither source nor prompt mentions 'S*'"),
            (
                ["image={image}", "word={tmp}/wide", "source=W*"],
                "has 1280 numbers per vector, the model's words have 16",
            ),
            (["image={image}", "sampler=plms"], "inversion needs DDIM, not plms: use sampler=ddim"),
            (["image={image}", "sampler.steps=1001"], "1001 sampling steps: choose 1 to 1000"),
            (["image={image}", "sampler.steps=0"], "sampler.steps is 0"),
            (["image={image}", "guidance=x"], "guidance is 'x'"),
        ],
    ),
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(invert, given, settings, what):
    code, said, folder = invert(*(setting.format(**given) for setting in settings))
    assert code == 1 and not folder.exists(), said
    (sentence,) = re.findall(r"^error: (.*)$", said, flags=re.MULTILINE)
    assert what in sentence and "Traceback" not in said
