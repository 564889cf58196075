"""scripts/edit.py with the tiny model."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from textual_inversion.words.file import FILE_NAME, LearnedWord

WIDTH = 16  # width of the tiny model's text encoder


@pytest.fixture
def given(tmp_path):
    """A picture of the model's size, a mask of its left half, and a word."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[:, :8] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    LearnedWord("S*", torch.ones(1, WIDTH)).save(tmp_path / FILE_NAME)
    return {"image": tmp_path / "image.png", "mask": tmp_path / "mask.png", "word": tmp_path / FILE_NAME}


@pytest.fixture
def edit(run_script, tmp_path, given):
    folder = tmp_path / "out"

    def run(*settings):
        paths = [
            f"{name}={path}" for name, path in given.items() if not any(s.startswith(f"{name}=") for s in settings)
        ]
        few = ("debug=tiny", "sampler.steps=2", "count=3", f"hydra.run.dir={folder}")
        return *run_script("edit", *few, *paths, *settings), folder

    return run


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_outside_of_the_mask_the_pixels_are_those_of_the_picture(edit, given):
    code, said, folder = edit("prompt=a photo of S*")
    assert code == 0, said
    before = pixels(given["image"])
    edits = [pixels(folder / f"{i:02d}.png") for i in range(3)]
    for after in edits:
        assert np.array_equal(after[:, 8:], before[:, 8:])
        assert (after[:, :8] != before[:, :8]).any(axis=-1).mean() > 0.9
    assert not np.array_equal(edits[0], edits[1])


def test_with_a_tuned_decoder_the_picture_is_close_outside_of_the_mask_and_how_close_is_said(edit, given):
    code, said, folder = edit("prompt=a photo of S*", "background=decoder", "count=1")
    assert code == 0, said
    found = re.search(r"outside of the mask: PSNR (.*) dB; the decoder as it was gives (.*) dB", said)
    tuned, plain = map(float, found.groups())
    error = (pixels(folder / "00.png")[:, 8:].astype(float) - pixels(given["image"])[:, 8:]) / 127.5
    assert tuned == pytest.approx(10 * np.log10(4 / np.square(error).mean()), abs=0.2) and tuned > plain + 1


def test_the_best_edits_are_kept_with_their_numbers(edit):
    code, said, folder = edit("prompt=a photo of S* on the moon", "mask=[0.0,0.0,0.5,1.0]", "best=1")
    assert code == 0, said
    (kept,) = folder.glob("0*.png")
    assert kept.name in ("00.png", "01.png", "02.png") and "1 edits" in said


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (["prompt=a photo of a cat"], "does not mention 'S*'"),
        (["prompt=S*", "mask=[0.0,0.0,1.0,1.0]"], "covers the whole picture"),
        (["prompt=S*", "mask={image}/none.png"], "none.png"),
        (["prompt=S*", "best=4"], "choose 1 to 3"),
        (["prompt=S*", "sampler=dpm_solver"], "use sampler=ddim"),
        (["prompt=S*", "image={word}"], "named like a picture|holds none|is empty|replace it"),
        (["prompt=a photo of S*", "word=[]"], "no learned word is given"),
        (["prompt=S*", "background=decodr"], "Did you mean background=decoder?"),
        (["prompt=S*", "background=decoder", "background.steps=0"], "background.steps is 0"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(edit, given, settings, what):
    code, said, folder = edit(*(setting.format(**given) for setting in settings))
    assert code == 1 and not folder.exists(), said
    (sentence,) = re.findall(r"^error: (.*)$", said, flags=re.MULTILINE)
    assert re.search(what, sentence) or what in sentence
    assert "Traceback" not in said
