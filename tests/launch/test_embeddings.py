"""`scripts/embeddings.py`: converting and editing files of words, without a model."""

import shlex

import pytest
import torch

from launch.embeddings import main
from textual_inversion.words.file import LearnedWord, load_words, save_words


def save(path, *placeholders, width=1280, k=1):
    words = [LearnedWord(name, torch.randn(k, width), {"steps": 500}) for name in placeholders]
    save_words(path, words)
    return [word.vectors for word in words]


def names(path):
    return [word.placeholder for word in load_words(path)]


@pytest.mark.parametrize(
    ("form", "suffix"),
    [("ours", ".safetensors"), ("official", ".pt"), ("a1111", ".pt"), ("diffusers", ".bin")],
)
def test_convert_there_and_back(tmp_path, form, suffix):
    (vectors,) = save(tmp_path / "a.safetensors", "*", k=3)
    b = str(tmp_path / f"b{suffix}")
    assert main(["convert", str(tmp_path / "a.safetensors"), b, "--format", form]) == 0
    assert main(["convert", b, str(tmp_path / "c.safetensors")]) == 0
    (word,) = load_words(tmp_path / "c.safetensors")
    assert word.placeholder == "*" and torch.equal(word.vectors, vectors)


def test_merge_gives_equal_names_free_ones_and_keeps_the_rest(tmp_path):
    for i, placeholders in enumerate([("*", "*-2"), ("*",), ("*", "cat")]):
        save(tmp_path / f"{i}.safetensors", *placeholders)
    files = [str(tmp_path / f"{i}.safetensors") for i in range(3)]
    assert main(["merge", *files, str(tmp_path / "all.safetensors")]) == 0
    assert names(tmp_path / "all.safetensors") == ["*", "*-2", "*-3", "*-4", "cat"]


def test_merge_by_explicit_names(tmp_path):
    expected = [save(tmp_path / f"{i}.safetensors", "*")[0] for i in range(3)]
    files = [str(tmp_path / f"{i}.safetensors") for i in range(3)]
    assert main(["merge", *files, str(tmp_path / "all"), "--names", "cat", "owl", "my fish"]) == 0
    words = load_words(tmp_path / "all")
    assert [word.placeholder for word in words] == ["cat", "owl", "my fish"]
    assert all(torch.equal(word.vectors, value) for word, value in zip(words, expected, strict=True))


def test_words_of_different_models_are_not_merged(tmp_path, capsys):
    save(tmp_path / "a", "*")
    save(tmp_path / "b", "*", width=768)
    assert main(["merge", str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c")]) == 1
    said = capsys.readouterr().out
    assert "1280" in said and "768" in said and not (tmp_path / "c").exists()


@pytest.mark.parametrize("form", ["ours", "a1111", "diffusers"])
def test_split_makes_a_file_a_word(tmp_path, form):
    save(tmp_path / "all", "S*", "T*", "<cat-toy>", "*", "חתול")
    assert main(["split", str(tmp_path / "all"), str(tmp_path / "each"), "--format", form]) == 0
    found = sorted(name for file in (tmp_path / "each").iterdir() for name in names(file))
    assert found == sorted(["S*", "T*", "<cat-toy>", "*", "חתול"])


@pytest.mark.parametrize("form", ["a1111", "diffusers", "official"])
def test_a_file_of_another_tool_is_never_replaced_by_one_of_ours(tmp_path, capsys, form):
    save(tmp_path / "own", "*")
    theirs = tmp_path / ("theirs.safetensors" if form == "diffusers" else "theirs.pt")
    assert main(["convert", str(tmp_path / "own"), str(theirs), "--format", form]) == 0
    before = theirs.read_bytes()
    placeholder = load_words(theirs)[0].placeholder
    for command in (
        ["rename", str(theirs), placeholder, "<cat>"],
        ["rename", str(theirs), placeholder, "<cat>", "--format", form],
        ["convert", str(theirs), str(theirs), "--overwrite"],
        ["merge", str(theirs), str(theirs), "--overwrite"],
    ):
        assert main(command) == 1 and "error: " in capsys.readouterr().out and theirs.read_bytes() == before
    assert main(["rename", str(theirs), placeholder, "<cat>", "--output", str(tmp_path / "new")]) == 0
    assert main(["rename", str(tmp_path / "own"), "*", "<cat>", "--format", "a1111"]) == 1
    assert load_words(tmp_path / "own")[0].placeholder == "*"


def test_rename_in_place_and_to_another_file(tmp_path):
    save(tmp_path / "a", "S*", "T*")
    assert main(["rename", str(tmp_path / "a"), "S*", "<cat-toy>", "--output", str(tmp_path / "b")]) == 0
    assert names(tmp_path / "a") == ["S*", "T*"] and names(tmp_path / "b") == ["<cat-toy>", "T*"]
    assert main(["rename", str(tmp_path / "a"), "T*", "owl"]) == 0
    assert names(tmp_path / "a") == ["S*", "owl"]


def test_inspect_says_what_a_word_is(tmp_path, capsys):
    save(tmp_path / "a", "S*", k=2)
    assert main(["inspect", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "S*: 2 x 1280" in said and "1.4B" in said and "steps: 500" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["convert", "a", "a"], "already exists"),
        (["convert", "nowhere", "b"], "there are no learned words at"),
        (["convert", "two", "b.pt", "--format", "a1111"], "holds one word"),
        (["convert", "a", "b.bin", "--format", "ours"], "a file in the format ours is called b.safetensors, not b.bin"),
        (["convert", "a", "b.safetensors", "--format", "a1111"], "the format a1111 is called b.pt, not b.safetensors"),
        (["convert", "a", "b.pt", "--format", "diffusers"], "the format diffusers is called b.safetensors, not b.pt"),
        (["convert", "a", "b", "--format", "official"], "the format official is called b.pt, not b"),
        (["convert", "a", "b.words"], "b.words has no suffix of a file of words: use .safetensors, .bin or .pt"),
        (["convert", "two", "b.pt", "--format", "official"], "rename the word to '*'"),
        (["rename", "a", "X", "Y"], "has no word 'X', only S*"),
        (["rename", "two", "S*", "T*"], "already has a word 'T*'"),
        (["merge", "a", "two", "b", "--names", "x"], "1 names for 3 words"),
        (["merge", "a", "two", "b", "--names", "x", "y", "x"], "a name twice"),
    ],
)
def test_mistakes_end_in_one_sentence_and_write_nothing(tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a", "S*")
    save(tmp_path / "two", "S*", "T*")
    before = (tmp_path / "a").read_bytes()
    assert main(arguments) == 1
    said = capsys.readouterr().out.strip().splitlines()
    assert len(said) == 1 and sentence in said[0]
    assert {file.name for file in tmp_path.iterdir()} == {"a", "two"} and (tmp_path / "a").read_bytes() == before


def test_texts_in_a_file_do_not_control_the_terminal(tmp_path, capsys):
    note = "fine\n\x1b[2J\x1b]0;title\x07\u202e\r\tend"
    save_words(tmp_path / "a.safetensors", [LearnedWord("S*", torch.ones(1, 4), {"note": note, note: 1})])
    assert main(["inspect", str(tmp_path / "a.safetensors")]) == 0
    said = capsys.readouterr().out
    assert r"\x1b[2J\x1b]0;title\x07\u202e\r" in said and "fine\n" in said and not set("\x1b\x07\r\u202e") & set(said)
    with pytest.raises(ValueError, match="cannot be the name of a learned word"):
        LearnedWord("S*\x1b[2J", torch.ones(1, 4))


@pytest.mark.parametrize(
    ("name", "width", "form"),
    [("b.bin", 768, "diffusers"), ("b.pt", 768, "A1111"), ("b.pt", 1280, "official"), ("b.PT", 768, "A1111")],
)
def test_the_format_follows_the_suffix(tmp_path, name, width, form):
    (vectors,) = save(tmp_path / "a.safetensors", "*", width=width)
    assert main(["convert", str(tmp_path / "a.safetensors"), str(tmp_path / name)]) == 0
    (word,) = load_words(tmp_path / name)
    assert word.provenance["format"] == form and torch.equal(word.vectors, vectors)


def test_capitals_that_cost_diffusers_vectors_are_named_with_the_command_that_helps(tmp_path, capsys):
    save(tmp_path / "two", "S*", k=2)
    save(tmp_path / "one", "S*", k=1)
    for source, file in (("one", "one.bin"), ("two", "two.bin"), ("two", "two.safetensors")):
        arguments = ["convert", str(tmp_path / source), str(tmp_path / file), "--format", "diffusers"]
        assert main(arguments) == 0
        said = capsys.readouterr().out
        if source == "one":
            assert "diffusers uses" not in said
            continue
        assert "diffusers uses only the first of the 2 vectors of 'S*', because of its capitals" in said
        command = shlex.split(said.partition("keeps all: ")[2].splitlines()[0])
        assert main(command[2:]) == 0
        assert names(tmp_path / file) == ["<s>"] and "diffusers uses" not in capsys.readouterr().out


def test_a_word_with_vectors_for_each_layer_is_renamed_but_stays_in_our_format(tmp_path, capsys):
    word, file = LearnedWord("S*", torch.randn(2, 3, 8), {"steps": 5}), tmp_path / "a.safetensors"
    word.save(file)
    assert main(["rename", str(file), "S*", "<cat>", "--output", str(tmp_path / "b.safetensors")]) == 0
    (found,) = load_words(tmp_path / "b.safetensors")
    assert torch.equal(found.vectors, word.vectors) and found.provenance["renamed_from"] == "S*"
    assert main(["inspect", str(file)]) == 0
    norms = ", ".join(f"{norm:.3f}" for norm in word.vectors.norm(dim=2).flatten().tolist())
    assert f"S*: 2 x 3 x 8, for a model of width 8, norms {norms}" in capsys.readouterr().out
    for name in ("c.bin", "c.pt"):
        assert main(["convert", str(file), str(tmp_path / name)]) == 1
        assert "'S*' differs between layers, which the format" in capsys.readouterr().out
        assert not (tmp_path / name).exists()
