"""A training goes on from the vectors of a learned word's file."""

from dataclasses import replace

import pytest
import torch

from ldm.errors import UserError
from textual_inversion.start import start_of
from textual_inversion.words.file import LearnedWord
from textual_inversion.words.formats import a1111

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")


@pytest.fixture
def word(tmp_path):
    """Return a builder of the files of words as wide as the tiny model's."""

    def build(k=1, width=16, **origin):
        learned = LearnedWord("<old>", torch.randn(k, width, generator=torch.Generator().manual_seed(k)), origin)
        learned.save(tmp_path / "old" / "learned_embeds.safetensors")
        return learned, str(tmp_path / "old")

    return build


@pytest.mark.parametrize("k", [1, 3])
def test_the_first_step_starts_from_the_words_vectors(inversion, concept, word, k):
    old, start = word(k)
    learner = inversion(concept(start=start, num_vectors=k))
    assert torch.equal(learner.vectors(learner.concepts[0]), old.vectors)
    assert torch.equal(learner.initial["S*"], old.vectors)
    assert not torch.equal(inversion(concept(num_vectors=k)).initial["S*"], old.vectors)


def test_a_word_of_another_tool_is_a_start(tiny_ldm, concept, tmp_path):
    vectors = torch.randn(1, 16)
    (tmp_path / "cat.pt").write_bytes(a1111("cat", vectors, {}))
    assert torch.equal(start_of(concept(start=str(tmp_path / "cat.pt")), tiny_ldm), vectors)


def test_training_leaves_the_file_and_moves_the_vectors(inversion, concept, word, trainer):
    old, start = word()
    learner = inversion(concept(start=start))
    trainer(2).fit(learner)
    assert not torch.equal(learner.vectors(learner.concepts[0]).detach().cpu(), old.vectors)
    assert torch.equal(LearnedWord.load(start).vectors, old.vectors)


def test_a_start_that_does_not_fit_is_refused(tiny_ldm, concept, word, caplog):
    _, start = word(k=2)
    with pytest.raises(UserError, match=r"has 2 vectors, but num_vectors is 1: set num_vectors to 2\."):
        start_of(concept(start=start), tiny_ldm)
    _, start = word(width=768)
    with pytest.raises(UserError, match=r"has 768 numbers per vector, the model's words have 16"):
        start_of(concept(start=start), tiny_ldm)
    with pytest.raises(UserError, match="there are no learned words at nowhere"):
        start_of(concept(start="nowhere"), tiny_ldm)
    _, start = word(model_fingerprint="another")
    start_of(concept(start=start), tiny_ldm)
    assert "was learned with other weights" in caplog.text


def test_where_a_word_started_is_a_part_of_its_provenance(concept):
    from textual_inversion.words.file import provenance

    given = {"steps": 3, "model": "tiny", "fingerprint": "00"}
    assert provenance(concept(start="old.pt"), **given)["start"] == "old.pt"
    assert "start" not in provenance(replace(concept(), start=None), **given)
