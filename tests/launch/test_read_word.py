"""scripts/read_word.py with the tiny model."""

import json
import re

import pytest
import torch
from PIL import Image

from textual_inversion.words.file import FILE_NAME, LearnedWord

WIDTH = 16  # width of the tiny model's text encoder
FEW = ("debug=tiny", "sampler.steps=2", "between=3", "shown=2")


@pytest.fixture
def words(tmp_path):
    """Two words of two vectors, one of one vector whose file names no initializer, and one of a vector per layer."""
    rng = torch.Generator().manual_seed(0)
    cat = {"initializer": "cat"}
    for name, shape, origin in (("S*", [2], cat), ("T*", [2], {}), ("U*", [1], {}), ("V*", [1, 4], cat)):
        path = tmp_path / name[0] / FILE_NAME
        path.parent.mkdir()
        LearnedWord(name, torch.randn(*shape, WIDTH, generator=rng), origin).save(path)
    return {name: tmp_path / name for name in "STUV"}


@pytest.fixture
def read_word(run_script, tmp_path):
    folder = tmp_path / "out"
    return lambda *given: (*run_script("read_word", *FEW, *given, f"hydra.run.dir={folder}"), folder)


def test_a_word_of_two_vectors(read_word, words):
    code, said, folder = read_word(f"word={words['S']}")
    assert code == 0, said
    names = {"between", "left_out", "vocabulary", "attention"}
    assert {path.stem for path in folder.glob("*.pdf")} == {path.stem for path in folder.glob("*.png")} == names
    with Image.open(folder / "between.png") as between, Image.open(folder / "left_out.png") as left_out:
        assert between.width == left_out.width  # three steps, and all vectors or either of them
    numbers = json.loads((folder / "word.json").read_text())
    assert numbers["start"] == '"cat"' and list(numbers["vectors"]) == ['"cat"', "S*, vector 0", "S*, vector 1"]
    assert next(iter(numbers["vectors"]['"cat"']["nearest"])) == "cat"
    assert numbers["vectors"]['"cat"']["cosine_with_start"] == pytest.approx(1.0)
    assert [set(step) for step in numbers["attention"]] == [{"t", "photo", "S*", "moon"}] * 2


@pytest.mark.integration
def test_from_another_word(read_word, words):
    code, said, folder = read_word(f"word={words['S']}", f"other={words['T']}", "prompt=an owl and {}")
    assert code == 0, said
    numbers = json.loads((folder / "word.json").read_text())
    assert numbers["start"] == "T*" and numbers["prompt"] == "an owl and S*"


@pytest.mark.integration
def test_a_file_without_an_initializer_starts_from_the_nearest_word(read_word, words):
    code, said, folder = read_word(f"word={words['U']}")
    assert code == 0, said
    numbers = json.loads((folder / "word.json").read_text())
    assert numbers["start"] == f'"{next(iter(numbers["vectors"]["U*"]["nearest"]))}"'
    assert not (folder / "left_out.png").exists()


@pytest.mark.integration
def test_a_word_with_a_vector_for_each_layer(read_word, words):
    code, said, folder = read_word(f"word={words['V']}")
    assert code == 0, said
    numbers = json.loads((folder / "word.json").read_text())
    assert list(numbers["vectors"]) == ['"cat"', *(f"V*, layer {i}" for i in range(4))]


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (["word={S}", "other={U}"], "1 and 2 vectors"),
        (["word={U}", "other={V}"], "'V*' has vectors for each layer: read it alone"),
        (["word={S}", "prompt=a photo of a cat"], "'a photo of a cat' has no {{}}"),
        (["word={S}", "between=1"], "between must be at least 2"),
        ([], "word has no value"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(read_word, words, given, what):
    code, said, folder = read_word(*(each.format(**words) for each in given))
    assert code == 1 and not folder.exists()
    (sentence,) = re.findall(r"^error: (.*)$", said, flags=re.MULTILINE)
    assert what.format() in sentence and "Traceback" not in said
