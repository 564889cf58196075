"""Both tokenizers split any text as the published ones do: CLIP's with the published merges against OpenAI's code, and
WordPiece against the original rules in Python.

The characters are those of Unicode 3.2. For later ones, the tables of the libraries differ."""

import gzip
import importlib.util
import json
import string
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from ldm.modules.clip_text import BytePairs
from ldm.modules.text import WordPiece

MERGES = 49152 - 256 - 2  # as many as CLIP uses of its file
LETTERS = "abcdefghij"
WORDS = "a photo of S* <cat-toy> don't I'LL naïve 4k S*'s two-tone 日本 ...".split()
known = st.characters(exclude_categories=("Cn", "Co", "Cs")).filter(
    lambda symbol: unicodedata.ucd_3_2_0.category(symbol) != "Cn"
)
texts = st.one_of(
    st.text(st.one_of(known, st.sampled_from("🎉🐱🦉👍🏽")), max_size=40),
    st.text(string.printable, max_size=60),
    st.text(LETTERS + LETTERS.upper() + " .,'-é日", max_size=60),
    st.lists(st.sampled_from("a photo of S* <cat-toy> don't I'LL naïve 4k S*'s two-tone 日本 ...".split())).map(
        " ".join
    ),
)


@pytest.fixture(scope="module")
def openai(tmp_path_factory):
    """Return OpenAI's tokenizer and ours, both with the published merges."""
    package = importlib.util.find_spec("open_clip")
    if package is None or package.origin is None:
        pytest.skip("CLIP's merges are missing: pip install --no-deps open-clip-torch ftfy")
    source = Path(package.origin).with_name("tokenizer.py")  # by itself: the package imports torchvision
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", source)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    theirs = module.SimpleTokenizer()
    folder = tmp_path_factory.mktemp("clip")
    with gzip.open(source.with_name("bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8") as file:
        merges = file.read().split("\n")[1 : MERGES + 1]
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}  # open_clip renames them
    vocabulary = {names.get(piece, piece): i for piece, i in theirs.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    return module, theirs, BytePairs(folder, 77)


@pytest.mark.integration
def test_clip_splits_any_text_as_openai_does(openai):
    module, theirs, ours = openai
    assert ours.vocab_size == 49408 and ours.frame([])[:2] == [49406, 49407]

    @settings(max_examples=2000, deadline=None)
    @given(texts)
    @example("\x8bÀ\x8bÀ")
    def compare(text: str) -> None:
        # Broken encodings are mended by OpenAI's code alone, and the final sigma of Greek is lower-cased by it alone.
        mended, before = text, None
        while mended != before:  # a mended text can look broken again
            mended, before = module.whitespace_clean(module.basic_clean(mended)).lower(), mended
        assert ours.pieces(mended) == theirs.encode(mended)

    compare()


@pytest.mark.parametrize("text", ["A PHOTO of S*, on the Moon!", "<cat-toy>", "日本の猫 🐱", "I'll  don't\twe've\n4k"])
def test_plain_text_needs_no_mending(openai, text):
    _, theirs, ours = openai
    assert ours.pieces(text) == theirs.encode(text)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """Return the original WordPiece tokenizer and ours, with a vocabulary of short pieces."""
    symbols = [*string.ascii_lowercase, *string.digits, *string.punctuation, *"éß日本猫αβγж🎉"]
    pairs = [a + b for a in LETTERS for b in LETTERS if a != b]
    longer = [pair + letter for pair in pairs[::3] for letter in LETTERS[::2]]
    inside = [f"##{piece}" for piece in (*symbols, *pairs[::2])]
    words = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *symbols, *pairs, *longer, *inside])
    path = tmp_path_factory.mktemp("bert") / "vocab.txt"
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return BertTokenizerLegacy(vocab_file=str(path), do_lower_case=True), WordPiece(path, 77)


@pytest.mark.integration
def test_wordpiece_splits_any_text_as_the_original_does(bert):
    theirs, ours = bert

    @settings(max_examples=2000, deadline=None)
    @given(texts)
    def compare(text: str) -> None:
        assert [ours.word(i) for i in ours.pieces(text)] == theirs.tokenize(text)

    compare()
