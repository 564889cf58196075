"""From text to c: the word pieces of bert-base-uncased, a vocabulary of whole words, and the three steps of
encoding."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldm.modules.text import BERTTextEncoder, WordPiece, whole_words
from toyland.captions import VOCABULARY as TOYLAND_WORDS
from toyland.captions import vocabulary_corpus

SHIPPED = Path(__file__).resolve().parents[3] / "assets" / "toyland" / "vocab.txt"
GOLDEN = Path(__file__).resolve().parents[2] / "golden"
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
PIECES = [*SPECIALS, "a", "photo", "of", "cat", "##s", "##nip", "-", "."]


@pytest.fixture
def tokenizer(tmp_path) -> WordPiece:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n")
    return WordPiece(path, max_length=8)


@pytest.fixture(scope="module")
def toyland() -> WordPiece:
    return WordPiece(SHIPPED, max_length=36)


def read(tokenizer: WordPiece, text: str) -> list[str]:
    return [tokenizer.word(i) for i in tokenizer([text])[0].tolist()]


def test_a_text_is_framed_and_padded(tokenizer):
    assert read(tokenizer, "A photo of cats") == ["[CLS]", "a", "photo", "of", "cat", "##s", "[SEP]", "[PAD]"]
    assert tokenizer.pad_id == 0


def test_the_empty_text_is_a_frame_without_content(tokenizer):
    assert read(tokenizer, "") == ["[CLS]", "[SEP]"] + ["[PAD]"] * 6
    assert tokenizer.pieces("") == []


@pytest.mark.parametrize("count", [5, 6, 7, 50])
def test_a_long_text_is_cut_and_still_ends(tokenizer, count):
    pieces = read(tokenizer, " ".join(["photo"] * count))
    kept = min(count, 6)
    assert pieces == ["[CLS]", *["photo"] * kept, "[SEP]", *["[PAD]"] * (6 - kept)]


def test_case_accents_and_spaces_say_nothing(tokenizer):
    assert tokenizer.pieces("  Phötó  OF\ta  cat. ") == tokenizer.pieces("photo of a cat.")


def test_what_cannot_be_spelt_is_unknown_and_its_neighbours_are_not(tokenizer):
    assert read(tokenizer, "a 猫 cat")[1:4] == ["a", "[UNK]", "cat"]
    assert read(tokenizer, "a zebra cat")[1:4] == ["a", "[UNK]", "cat"]


def test_texts_make_a_table_of_ids(tokenizer):
    ids = tokenizer(["a cat", "", "catnip"])
    assert ids.shape == (3, 8) and ids.dtype == torch.int64
    assert ids.max() < tokenizer.vocab_size == len(PIECES)


def test_ids_are_those_of_the_original_s_tokenizer(tmp_path):
    golden = json.loads((GOLDEN / "tokenizer_toy.json").read_text(encoding="utf-8"))
    (tmp_path / "vocab.txt").write_text("\n".join(golden["vocab"]), encoding="utf-8")
    tokenizer = WordPiece(tmp_path / "vocab.txt", golden["max_length"])
    assert len(golden["rows"]) == 17
    for row in golden["rows"]:
        ids = row["ids_without_trailing_padding"]
        assert tokenizer([row["text"]]).tolist() == [ids + [0] * (row["padded_length"] - len(ids))], row["text"]


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no vocabulary at .*nowhere\.txt"):
        WordPiece(tmp_path / "nowhere.txt", 8)


def test_the_shipped_vocabulary_is_that_of_toyland_s_captions():
    assert SHIPPED.read_text(encoding="utf-8").splitlines() == whole_words(vocabulary_corpus())


def test_captions_are_read_word_by_word(toyland):
    """There are no [UNK] and no pieces of words, and decoding gives the text back, up to case and spaces around
    hyphens."""
    for text in vocabulary_corpus():
        pieces = [toyland.word(i) for i in toyland.pieces(text)]
        assert "[UNK]" not in pieces and not any(piece.startswith("##") for piece in pieces), text
        assert "".join(pieces) == "".join(text.lower().split()), text


def test_every_word_has_an_id_of_its_own(toyland):
    assert len(set(toyland.words)) == toyland.vocab_size
    words = {word for word in TOYLAND_WORDS if word.isalpha()}
    assert len({toyland.pieces(word)[0] for word in words}) == len(words)


@given(st.text("abcxyz0189 -,.!?'*&", max_size=40))
def test_any_ascii_text_can_be_spelt(toyland, text):
    pieces = [toyland.word(i) for i in toyland.pieces(text)]
    assert "[UNK]" not in pieces
    assert "".join(piece.removeprefix("##") for piece in pieces) == "".join(text.split())


def test_whole_words_begin_with_padding_and_hold_each_piece_once():
    words = whole_words(["A cat, a CAT", "the café"])
    assert words[:4] == SPECIALS
    assert {"cat", "the", "cafe", ",", "a", "##a"} <= set(words) and len(set(words)) == len(words)


def test_three_steps_are_one(build_text_encoder):
    encoder, texts = build_text_encoder(), ["a photo of a red cat", "", "a dog"]
    c = encoder(texts)
    assert c.shape == (3, encoder.max_length, encoder.width)
    torch.testing.assert_close(encoder.encode(encoder.embed(encoder.tokenize(texts))), c)


def test_texts_of_a_batch_do_not_mix_and_their_order_of_words_matters(build_text_encoder):
    encoder = build_text_encoder()
    c = encoder(["a red cat and a dog", "a red dog and a cat", ""])
    torch.testing.assert_close(encoder(["a red dog and a cat"])[0], c[1])
    assert not torch.allclose(c[0, -1], c[1, -1], atol=1e-5)


def test_the_padding_is_attended_to(build_text_encoder):
    """As in the published model, there is no attention mask."""
    encoder = build_text_encoder()
    embeddings = encoder.embed(encoder.tokenize(["a cat"]))
    other = torch.cat([embeddings[:, :-1], embeddings[:, -1:].flip(-1)], dim=1)
    assert not torch.allclose(encoder.encode(embeddings)[:, 1], encoder.encode(other)[:, 1], atol=1e-5)


def test_the_gradient_reaches_embeddings_put_between_the_steps(build_text_encoder):
    encoder = build_text_encoder()
    embeddings = encoder.embed(encoder.tokenize(["a photo of a cat"])).detach().requires_grad_()
    encoder.encode(embeddings).square().sum().backward()
    assert (embeddings.grad.abs().sum(-1) > 0).all()


def test_a_vocabulary_of_another_size_is_an_error_with_both_sizes(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES))
    encoder = BERTTextEncoder(path, vocab_size=99, width=8, depth=1, max_length=8, heads=1, dim_head=8)
    with pytest.raises(ValueError, match="12 word pieces, but the model has 99 embeddings"):
        encoder(["a cat"])
