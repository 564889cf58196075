import json
import os

import pytest
import torch
from safetensors.torch import save_file

from textual_inversion.concept import Concept
from textual_inversion.words import file as embedding_file
from textual_inversion.words.file import FILE_NAME, LearnedWord, load_words, provenance, save_words

CAT = Concept("S*", "cat", "photos", ("a photo of {}",), learning_rate=5e-3, num_vectors=2, seed=7)


def word(placeholder="S*", k=2, width=8, **origin):
    return LearnedWord(placeholder, torch.randn(k, width, generator=torch.Generator().manual_seed(k)), origin)


@pytest.mark.parametrize("placeholder", ["S*", "*", "<cat-toy>", "🐱", "חתול", 'a "quoted" {}', "a.b"])
@pytest.mark.parametrize("k", [1, 3])
def test_what_is_saved_is_loaded(tmp_path, placeholder, k):
    saved = word(placeholder, k, initializer="cat", steps=500)
    save_words(tmp_path / "word.safetensors", [saved])
    (loaded,) = load_words(tmp_path / "word.safetensors", width=8)
    assert loaded.placeholder == placeholder
    assert torch.equal(loaded.vectors, saved.vectors) and loaded.vectors.dtype == torch.float32
    assert loaded.provenance == {"initializer": "cat", "steps": 500, "width": 8}


def test_words_learned_together_keep_their_order(tmp_path):
    save_words(tmp_path / FILE_NAME, [word("b"), word("a", k=1), word("c")])
    assert [(w.placeholder, len(w.vectors)) for w in load_words(tmp_path)] == [("b", 2), ("a", 1), ("c", 2)]


def test_two_words_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="words with different names"):
        save_words(tmp_path / FILE_NAME, [word("*"), word("*")])
    assert not list(tmp_path.iterdir())


def test_provenance_says_where_a_word_comes_from():
    origin = provenance(CAT, steps=500, model="Toyland", fingerprint="00ff")
    expected = {"initializer": "cat", "num_vectors": 2, "learning_rate": 5e-3, "seed": 7, "steps": 500}
    assert expected.items() <= origin.items()
    assert (origin["model"], origin["model_fingerprint"]) == ("Toyland", "00ff")
    assert origin["versions"]["torch"] and origin["date"].endswith("+00:00")
    assert json.loads(json.dumps(origin)) == origin


def test_a_word_is_a_snapshot():
    learning = torch.nn.Parameter(torch.ones(1, 4))
    learned = LearnedWord("S*", learning)
    learning.data.zero_()
    assert (learned.vectors == 1).all() and not learned.vectors.requires_grad


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path, number):
    vectors = torch.ones(2, 8)
    vectors[1, 3] = number
    with pytest.raises(ValueError, match=r"1 of the 16 numbers of 'S\*' are NaN or infinite"):
        LearnedWord("S*", vectors)
    path = tmp_path / "bad.safetensors"
    metadata = {"format": "textual_inversion", "format_version": "1", "words": '{"S*": {}}'}
    save_file({"S*": vectors}, path, metadata)
    with pytest.raises(ValueError, match=r"bad\.safetensors is unusable: 1 of the 16 numbers"):
        load_words(path)


@pytest.mark.parametrize("shape", [(8,), (0, 8), (1, 0, 8), (1, 2, 1, 8)])
def test_vectors_are_k_by_width(shape):
    with pytest.raises(ValueError, match=r"not \[k, width\] or \[k, layers, width\]"):
        LearnedWord("S*", torch.ones(shape))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / FILE_NAME
    save_words(path, [word()])
    before = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (type(path), "replace")), interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_words(path, [word("other")])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("origin", "model"), [({"model": "Toyland"}, "Toyland"), ({}, "the 1.4B text-to-image LDM")])
def test_a_word_of_another_width_says_which_model_it_is_for(tmp_path, origin, model):
    save_words(tmp_path / FILE_NAME, [word(width=1280, **origin)])
    with pytest.raises(ValueError) as caught:
        load_words(tmp_path, width=256)
    assert "has 1280 numbers per vector, the model's words have 256; it was learned for " + model in str(caught.value)


@pytest.mark.parametrize(("fingerprint", "warns"), [("other", True), ("same", False), (None, False)])
def test_a_word_learned_in_other_weights_is_loaded_with_a_warning(tmp_path, caplog, fingerprint, warns):
    save_words(tmp_path / FILE_NAME, [word(model_fingerprint="same"), word("T*")])
    assert len(load_words(tmp_path, fingerprint=fingerprint)) == 2
    assert [record.args[1] for record in caplog.records] == (["S*"] if warns else [])


def test_a_cut_file_is_broken(tmp_path):
    path = tmp_path / FILE_NAME
    save_words(path, [word()])
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="is damaged"):
        load_words(path)


def test_a_file_of_another_time_is_refused(tmp_path, monkeypatch):
    path = tmp_path / FILE_NAME
    monkeypatch.setattr(embedding_file, "FORMAT_VERSION", 3)
    save_words(path, [word()])
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format version 3, this code reads 1 and 2"):
        load_words(path)


def test_a_missing_word_lists_what_is_near(tmp_path):
    save_words(tmp_path / "cat_toy" / "1" / FILE_NAME, [word()])
    for missing in (tmp_path, tmp_path / "cat_toi", tmp_path / "cat_toy" / "1" / "other.safetensors"):
        with pytest.raises(ValueError, match=r"no learned words at .*Near it are: .*learned_embeds\.safetensors"):
            load_words(missing)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no learned words at .*Give a run folder"):
        load_words(tmp_path / "empty")
