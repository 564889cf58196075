"""Pivotal tuning changes a copy of the UNet and keeps the word fixed."""

import copy
from dataclasses import replace

import pytest
import torch

from ldm.sampling import Sampler
from textual_inversion.evaluation.pivotal import Pivotal
from textual_inversion.evaluation.subjects import Pipeline, SubjectInputs, Word
from textual_inversion.pictures import load_pictures
from textual_inversion.words.file import LearnedWord

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")
TEMPLATES = ("a photo of {}", "the photo of a {}")


@pytest.fixture
def inputs(tiny_ldm, photos):
    vectors = torch.randn(2, 16, generator=torch.Generator().manual_seed(3))
    word = LearnedWord("S*", vectors, {"initializer": "cat"})
    pipeline = Pipeline(tiny_ldm.freeze(), Sampler(2), guidance=2.0)
    return SubjectInputs(pipeline, word, photos, load_pictures(photos, 16).images)


def test_the_copys_unet_learns_and_nothing_else_moves(inputs):
    own = inputs.pipeline.ldm
    before, vectors = copy.deepcopy(own.state_dict()), inputs.word.vectors.clone()
    tuned = Pivotal(inputs, steps=3, learning_rate=1e-3, templates=TEMPLATES)
    assert torch.equal(tuned.embeddings.vectors[0], vectors) and torch.equal(inputs.word.vectors, vectors)
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    moved = {name for name, value in tuned.pipeline.ldm.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {f"model.diffusion_model.{name}" for name, _ in own.unet.named_parameters()}


def test_the_tuned_model_is_frozen_again_and_generates_with_the_same_settings(inputs):
    tuned = Pivotal(inputs, steps=1, learning_rate=1e-3, templates=TEMPLATES).pipeline
    assert not tuned.ldm.training and not any(p.requires_grad for p in tuned.ldm.parameters())
    assert (tuned.sampler, tuned.guidance, tuned.seed) == (Sampler(2), 2.0, 0)


def test_without_a_step_that_counts_it_generates_what_the_word_generates(inputs):
    still, moved = (Pivotal(inputs, steps=2, learning_rate=rate, templates=TEMPLATES) for rate in (1e-30, 1e-2))
    expected = Word(inputs).generate(["a photo of {}"], range(3))
    torch.testing.assert_close(still.generate(["a photo of {}"], range(3)), expected, atol=1e-5, rtol=0)
    assert not torch.allclose(moved.generate(["a photo of {}"], range(3)), expected, atol=1e-2)


def test_small_steps_are_not_rounded_away_by_a_model_in_half_precision(inputs):
    half = replace(inputs, pipeline=replace(inputs.pipeline, ldm=inputs.pipeline.ldm.freeze(torch.bfloat16)))
    before = copy.deepcopy(half.pipeline.ldm.unet.state_dict())
    tuned = Pivotal(half, steps=1, learning_rate=1e-6, templates=TEMPLATES)
    after = tuned.pipeline.ldm.unet.state_dict()
    assert all(
        not torch.equal(after[name], before[name].float()) for name, _ in half.pipeline.ldm.unet.named_parameters()
    )
    assert tuned.generate(["a photo of {}"], range(1)).isfinite().all()


def test_over_guidances_the_model_is_tuned_once_and_another_word_tunes_its_own(inputs):
    settings = {"steps": 1, "learning_rate": 1e-3, "templates": TEMPLATES}
    one = Pivotal(inputs, **settings).pipeline
    other = Pivotal(replace(inputs, pipeline=replace(inputs.pipeline, guidance=5.0)), **settings).pipeline
    assert other.ldm is one.ldm and (one.guidance, other.guidance) == (2.0, 5.0)
    another_word = replace(inputs, word=LearnedWord("S*", torch.ones(1, 16), {"initializer": "cat"}))
    another = Pivotal(another_word, **settings).pipeline.ldm
    assert any(not torch.equal(value, another.state_dict()[name]) for name, value in one.ldm.state_dict().items())


def test_the_pictures_of_the_concept_become_likelier(inputs, inversion, concept):
    tuned = Pivotal(inputs, steps=40, learning_rate=3e-3, templates=TEMPLATES)
    losses = []
    for ldm in (inputs.pipeline.ldm, tuned.pipeline.ldm):
        learner = inversion(concept(num_vectors=2, templates=TEMPLATES), ldm=ldm, batch_size=16)
        learner.on_fit_start()
        with torch.no_grad():
            learner.vectors(learner.concepts[0]).copy_(inputs.word.vectors)
            losses.append(float(learner.losses(learner.draw(10_000))))
    assert losses[1] < 0.9 * losses[0]


def test_the_unet_is_tuned_around_the_word_that_it_is_given(inputs):
    other = replace(inputs, word=replace(inputs.word, vectors=-inputs.word.vectors))
    tuned = [Pivotal(given, steps=2, learning_rate=1e-3, templates=TEMPLATES) for given in (inputs, inputs, other)]
    first, again, another = (torch.cat([p.flatten() for p in t.pipeline.ldm.unet.parameters()]) for t in tuned)
    assert torch.equal(first, again) and not torch.allclose(first, another, atol=1e-5)


def test_a_word_of_unknown_origin_cannot_be_tuned_around(inputs):
    word = LearnedWord("S*", inputs.word.vectors)
    with pytest.raises(ValueError, match=r"'S\*' does not name its initializer"):
        Pivotal(replace(inputs, word=word), 1, 1e-3, TEMPLATES)


def test_without_a_word_there_is_nothing_to_tune_around(inputs):
    with pytest.raises(ValueError, match="no learned word"):
        Pivotal(replace(inputs, word=None), 1, 1e-3, TEMPLATES)
