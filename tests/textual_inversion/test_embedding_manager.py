import logging

import pytest
import torch

from ldm.modules.text import BERTTextEncoder
from textual_inversion.embedding_manager import EmbeddingManager, initial_vectors

PLACEHOLDERS = ["S*", "*", "S", "<cat-toy>", "🐱", "חתול", "two words", "a{}b", "c++", r"$\1", "Étoile"]
SENTENCES = [
    "{}",
    "a photo of {} on the moon",
    "{}, a cat",
    "a cat ({})",
    "{}'s hat",
    "a photo of {}.",
    '"{}"!',
    "my-{}",
]
ROOM = 14  # pieces that a text of the tiny encoder has room for


@pytest.fixture
def text(build_text_encoder):
    return build_text_encoder().eval().requires_grad_(False)


def row(text, word):
    """The embedding of one word of the vocabulary [1, width]."""
    return text.embed(torch.tensor(text.tokenizer.pieces(word)))


def manager(text, **counts):
    """Random vectors for each word, as many as its count says."""
    rng = torch.Generator().manual_seed(0)
    words = {word: torch.randn(k, text.width, generator=rng) for word, k in counts.items()}
    return EmbeddingManager(text.tokenizer, words)


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_any_string_stands_for_its_vectors_wherever_it_is_put(text, placeholder):
    embeddings = EmbeddingManager(text.tokenizer, {placeholder: row(text, "owl")})
    owls = [sentence.format("owl") for sentence in SENTENCES]
    prompts = [sentence.format(placeholder) for sentence in SENTENCES]
    assert torch.equal(embeddings.encode(text, prompts), text(owls))
    assert [embeddings.mentions(prompt) for prompt in prompts] == [[placeholder]] * len(prompts)


@pytest.mark.parametrize(
    ("placeholder", "prompt"),
    [("toy", "two toys"), ("S", "a photo of S_1"), ("חתול", "חתולים"), ("S*", "cats*"), ("S*", "a photo of s*")],
)
def test_a_part_of_a_longer_word_is_no_placeholder(text, placeholder, prompt):
    embeddings = manager(text, **{placeholder: 1})
    assert embeddings.mentions(prompt) == []
    assert torch.equal(embeddings.tokenize([prompt]), text.tokenize([prompt]))


@pytest.mark.parametrize("order", [1, -1])
def test_the_longer_placeholder_wins(text, order):
    embeddings = manager(text, **dict.fromkeys(["S*", "S*2", "cat", "cat-toy"][::order], 1))
    prompt = "S*2 and S* by a cat-toy, not a cat"
    assert embeddings.mentions(prompt) == ["S*2", "S*", "cat-toy", "cat"]


@pytest.mark.parametrize("k", [1, 3])
def test_k_vectors_take_k_places_and_shift_the_rest(text, k):
    embeddings = manager(text, **{"S*": k})
    ids = embeddings.tokenize(["a photo of S* on the moon"])
    own = range(text.vocab_size, text.vocab_size + k)
    before, after = text.tokenizer.pieces("a photo of"), text.tokenizer.pieces("on the moon")
    assert ids.tolist() == [text.tokenizer.frame([*before, *own, *after])]
    embedded = embeddings.embed(ids, text.embed)[0]
    place = slice(len(before) + 1, len(before) + 1 + k)
    assert torch.equal(embedded[place], embeddings.vectors[0])
    frozen = torch.ones(len(embedded), dtype=torch.bool)
    frozen[place] = False
    assert torch.equal(embedded[frozen], text.embed(ids[0, frozen]))


def test_two_placeholders_keep_their_own_vectors_in_any_place(text):
    embeddings = manager(text, **{"S*": 2, "T*": 1})
    s, t = embeddings.vectors
    embedded = embeddings.embed(embeddings.tokenize(["T* and S*", "S* T* S*"]), text.embed)
    assert torch.equal(embedded[0, [1, 3, 4]], torch.cat([t, s]))
    assert torch.equal(embedded[1, 1:6], torch.cat([s, t, s]))


def test_a_prompt_without_placeholders_is_the_model_s_own(text):
    prompts = ["a photo of a cat", ""]
    assert torch.equal(manager(text, **{"S*": 2}).encode(text, prompts), text(prompts))


@pytest.mark.parametrize("k", [1, 3, ROOM])
def test_a_placeholder_that_falls_off_the_end_is_an_error(text, k):
    embeddings = manager(text, **{"S*": k})
    fits = "cat " * (ROOM - k) + "S*"
    assert (embeddings.tokenize([fits]) >= text.vocab_size).sum() == k
    with pytest.raises(ValueError, match=f"has {ROOM + 1} pieces, the model reads {ROOM}: the placeholder is cut off"):
        embeddings.tokenize(["S*", "cat " + fits])


def test_text_that_falls_off_the_end_is_a_warning(text, caplog):
    embeddings = manager(text, **{"S*": 2})
    with caplog.at_level(logging.WARNING):
        embeddings.tokenize(["S*" + " cat" * (ROOM - 2)])
        assert not caplog.messages
        ids = embeddings.tokenize(["S*" + " cat" * ROOM])
    assert f"the model reads {ROOM} pieces of its {ROOM + 2}" in caplog.text
    assert (ids >= text.vocab_size).sum() == 2


def test_the_gradient_reaches_the_vectors_in_the_prompt_alone(text):
    embeddings = manager(text, **{"S*": 3, "T*": 1})
    embeddings.encode(text, ["a photo of S*"]).square().sum().backward()
    mentioned, other = embeddings.vectors
    assert (mentioned.grad.norm(dim=1) > 0).all()
    assert other.grad is None or not other.grad.any()
    assert all(parameter.grad is None for parameter in text.parameters())
    assert set(embeddings.state_dict()) == {"vectors.0", "vectors.1"}


def test_no_argument_is_mutated_and_nothing_is_counted(text):
    words, prompts = {"S*": torch.ones(2, text.width)}, ["a photo of S*"]
    embeddings = EmbeddingManager(text.tokenizer, words)
    ids = embeddings.tokenize(prompts)
    kept, table = ids.clone(), text.transformer["token_emb"].weight.clone()
    first, again = (embeddings.embed(ids, text.embed) for _ in range(2))
    first.sum().backward()
    torch.optim.SGD(embeddings.parameters(), lr=1.0).step()
    assert torch.equal(first, again) and torch.equal(ids, kept) and prompts == ["a photo of S*"]
    assert (words["S*"] == 1).all() and not (embeddings.vectors[0] == 1).any()
    assert torch.equal(text.transformer["token_emb"].weight, table)


def test_the_vectors_stay_float32_beside_a_model_in_half_precision(text):
    embeddings = manager(text, **{"S*": 1})
    half = text.to(torch.bfloat16)
    embedded = embeddings.embed(embeddings.tokenize(["S*"]), half.embed)
    embedded.sum().backward()
    assert embedded.dtype == torch.bfloat16
    assert embeddings.vectors[0].dtype == embeddings.vectors[0].grad.dtype == torch.float32


def test_vectors_start_from_a_copy_of_the_word_s_own(text):
    vectors = initial_vectors(text, "Owl", 3)
    assert torch.equal(vectors, row(text, "owl").expand(3, -1))
    vectors += 1
    assert not torch.equal(vectors[:1], row(text, "owl"))


def test_vectors_start_from_the_mean_of_several_pieces_and_say_so(tmp_path, caplog):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "tea", "##pot", "cat"]))
    text = BERTTextEncoder(vocabulary, vocab_size=8, width=4, depth=1, max_length=8)
    with caplog.at_level(logging.INFO):
        (vector,) = initial_vectors(text, "teapot", 1)
    assert torch.allclose(vector, text.embed(torch.tensor([5, 6])).mean(dim=0))
    assert "'teapot' is several word pieces (tea ##pot)" in caplog.text


@pytest.mark.parametrize(("initializer", "hint"), [
    ("teapott", "near it are teapot"), ("Snowmann", "snowman"), ("qqqqq", "choose a word"), ("🐱", "choose a word"),
])  # fmt: skip
def test_a_word_that_could_only_be_spelt_is_an_error_with_what_is_near(text, initializer, hint):
    with pytest.raises(ValueError, match=f"'{initializer}' is no word of the model's vocabulary; .*{hint}"):
        initial_vectors(text, initializer, 1)
