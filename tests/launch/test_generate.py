"""Generating images with learned words from the command line."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from textual_inversion import generate as generate_images
from textual_inversion import load_model
from textual_inversion.words.file import FILE_NAME, LearnedWord, save_words

WIDTH = 16  # width of the tiny model's text encoder


@pytest.fixture
def word(tmp_path):
    """Return a builder of run folders with a word."""

    def build(placeholder, width=WIDTH):
        run = tmp_path / f"run of {placeholder}"
        save_words(run / FILE_NAME, [LearnedWord(placeholder, torch.ones(1, width))])
        return run

    return build


@pytest.fixture
def generate(run_script, tmp_path):
    """Return a function that runs the script with the tiny model, always the same: exit code, output, folder."""

    def run(*arguments):
        folder = tmp_path / "runs" / "generated"
        torch.manual_seed(0)
        return *run_script("generate", "debug=tiny", "sampler.steps=1", *arguments, f"hydra.run.dir={folder}"), folder

    return run


def test_several_prompts_with_several_words(generate, word):
    words, prompts = f"[{word('S*')},{word('T*') / FILE_NAME}]", "[a photo of S*,S* and T* on the moon,T*]"
    code, said, folder = generate(f"word={words}", f"prompt={prompts}", "count=2")
    assert code == 0, said
    pictures = [f"{prompt:02d}-{i:02d}.png" for prompt in range(3) for i in range(2)]
    assert sorted(path.name for path in folder.glob("*.png")) == [*pictures, "sheet.png"]
    assert "6 pictures and sheet.png are in" in said
    words = [LearnedWord(placeholder, torch.ones(1, WIDTH)) for placeholder in ("S*", "T*")]
    prompts = [prompt for prompt in ("a photo of S*", "S* and T* on the moon", "T*") for _ in range(2)]
    images = generate_images(load_model("tiny", device="cpu"), prompts, words, steps=1, progress=False)
    for name, image in zip(pictures, images, strict=True):
        assert (np.asarray(Image.open(folder / name)) == np.asarray(image)).all(), name


@pytest.mark.parametrize(
    ("arguments", "what", "remedy"),
    [
        (["prompt=a photo of a cat"], "'a photo of a cat' does not mention 'S*'", "write it into the prompt"),
        (["prompt=[a photo of S*,'']"], "prompt is ''", "give a text"),
        ([], "prompt has no value", "add prompt=... to the command"),
        (["prompt=" + "cat " * 40 + "S*"], "the placeholder is cut off", "the model reads 34"),
        (["prompt=S*", "word={missing}"], "there are no learned words at {missing}", "Near it are"),
        (["prompt=S*", "word={other}"], "has 1280 numbers per vector, the model's words have 16", "Use that model"),
        (["prompt=S*", "word=[{same},{same}]"], "two words share a placeholder", "embeddings.py rename"),
        (["prompt=S*", "word={text}"], "is a text file", "not weights"),
        (["prompt=S*", "sampler.steps=0"], "sampler.steps is 0", "give a whole number, 1 or more"),
    ],
)
def test_a_mistake_ends_in_one_sentence_and_leaves_nothing(generate, word, tmp_path, arguments, what, remedy):
    places = {
        "same": word("S*"),
        "other": word("paper", 1280),
        "missing": tmp_path / "missing",
        "text": tmp_path / "word.txt",
    }
    places["text"].write_text("S* = my cat\n")
    code, said, folder = generate(f"word={word('S*')}", *(argument.format(**places) for argument in arguments))
    assert code == 1
    (sentence,) = re.findall(r"^error: (.*)$", said, flags=re.MULTILINE)
    assert what.format(**places) in sentence and remedy in sentence
    assert "Traceback" not in said
    assert not folder.exists()


@pytest.mark.parametrize("prompt", ["a photo of S*, on the moon", "a cat's photo of S*"])
def test_a_prompt_is_taken_as_it_is(generate, word, prompt):
    code, said, folder = generate(f"word={word('S*')}", f"prompt={prompt}", "count=1")
    assert code == 0 and {path.name for path in folder.glob("*.png")} == {"00-00.png", "sheet.png"}, said


@pytest.mark.parametrize("no_word", [[], ["word=[]"]])
def test_the_model_generates_without_a_word(generate, no_word):
    code, said, folder = generate(*no_word, "prompt=a photo of a cat", "count=1")
    assert code == 0 and (folder / "00-00.png").is_file(), said


def test_a_word_that_is_mentioned_and_not_given_is_named(generate):
    code, said, _ = generate("prompt=a photo of <cat-toy>")
    assert code == 1 and "mentions <cat-toy>, but no learned word is given: add word=" in said
