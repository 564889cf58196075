"""What is in a learned word: neighbours, lengths, lines between words, and cross-attention."""

import pytest
import torch

from ldm import models
from ldm.errors import UserError
from ldm.sampling import Sampler
from textual_inversion.embedding_manager import EmbeddingManager
from textual_inversion.scales import TINY
from textual_inversion.words.probing import Vocabulary, between, watch_attention, without_vector


@pytest.fixture(scope="module")
def ldm():
    torch.manual_seed(0)
    return models.tiny(TINY.vocabulary).freeze()


def embedding(ldm, word):
    (piece,) = ldm.text_encoder.tokenizer.pieces(word)
    return ldm.text_encoder.embed(torch.tensor([piece]))


def test_a_word_of_the_vocabulary_is_nearest_to_its_own_embedding(ldm):
    vocabulary = Vocabulary.of(ldm.text_encoder)
    found = dict(vocabulary.nearest(3.0 * embedding(ldm, "owl")[0], 2))
    own, second = found.values()
    assert next(iter(found)) == "owl" and own == pytest.approx(1.0) and second < 0.99


def test_the_longest_word_is_longer_than_all_others(ldm):
    vocabulary = Vocabulary.of(ldm.text_encoder)
    order = vocabulary.embeddings.norm(dim=1).argsort()
    n = len(order)
    quantiles = [vocabulary.norm_quantile(vocabulary.embeddings[i]) for i in (order[0], order[-1])]
    assert quantiles == pytest.approx([0.0, (n - 1) / n])
    assert vocabulary.norm_quantile(100.0 * vocabulary.embeddings[0]) == 1.0


def test_the_line_between_two_words_starts_and_ends_at_them():
    a, b = torch.zeros(2, 3), torch.ones(2, 3)
    steps = between(a, b, 5)
    assert [float(step.mean()) for step in steps] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    with pytest.raises(UserError, match="2 and 1 vectors"):
        between(a, b[:1], 5)


def test_a_vector_is_left_out():
    vectors = torch.arange(3.0)[:, None]
    assert [without_vector(vectors, i).flatten().tolist() for i in range(3)] == [[1, 2], [0, 2], [0, 1]]


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_attention_is_shared_out_among_the_tokens(ldm, guidance):
    embeddings = EmbeddingManager(ldm.text_encoder.tokenizer, {"S*": embedding(ldm, "cat")})
    options = {"sampler": Sampler(5), "guidance": guidance, "seed": 3, "shown": 3}
    steps = watch_attention(ldm, embeddings, "a photo of S*", **options)
    assert [step.t for step in steps] == [801, 401, 1]
    for step in steps:
        assert step.image.shape == (3, 16, 16)
        assert torch.allclose(step.maps.sum(dim=0), torch.ones(step.maps.shape[1:]), atol=1e-5)


def test_the_maps_are_those_of_the_prompt_not_of_the_empty_text(ldm):
    """The token in the place of S* gets the same attention, to the last digit, as the ordinary word whose embedding it
    has; another word gets another share."""
    embeddings = EmbeddingManager(ldm.text_encoder.tokenizer, {"S*": embedding(ldm, "cat")})
    options = {"sampler": Sampler(2), "guidance": 5.0, "seed": 0, "shown": 1}
    maps = [
        watch_attention(ldm, embeddings, f"a photo of {name}", **options)[0].maps for name in ("S*", "cat", "elephant")
    ]
    assert torch.equal(maps[0], maps[1]) and not torch.allclose(maps[0], maps[2], rtol=1e-3)
