"""Subjects: each generates the images that it should, and sample i does not depend on the rest of the batch."""

import json
from dataclasses import replace

import pytest
import torch

from ldm.images import to_tensor
from ldm.sampling import Sampler, dpm_solver
from textual_inversion.evaluation.subjects import (
    Bipartite,
    Captions,
    ImageOnly,
    Pipeline,
    PromptOnly,
    SubjectInputs,
    Word,
    labels_in,
    without_word,
)
from textual_inversion.generation import generate_images, manager_of
from textual_inversion.pictures import load_pictures
from textual_inversion.words.file import LearnedWord

TEMPLATE = "a photo of {} on the moon"
LINES = ["a red cat", "an owl with huge eyes", "my teapot"]


@pytest.fixture
def inputs(tiny_ldm, photos):
    word = LearnedWord("S*", torch.randn(2, 16, generator=torch.Generator().manual_seed(3)))
    pipeline = Pipeline(tiny_ldm, Sampler(2), guidance=2.0, seed=5, batch_size=2)
    (photos / "said.txt").write_text("\n".join([LINES[0], "", f"  {LINES[1]} ", LINES[2], ""]), encoding="utf-8")
    return SubjectInputs(pipeline, word, photos, load_pictures(photos, 16).images)


def generate(inputs, prompts, first=0, words=()):
    pipeline = inputs.pipeline
    embeddings = manager_of(pipeline.ldm, words) if words else None
    return generate_images(
        pipeline.ldm, prompts, embeddings, sampler=pipeline.sampler, guidance=pipeline.guidance, seed=pipeline.seed,
        indices=range(first, first + len(prompts)), progress=False,
    )  # fmt: skip


def subjects(inputs):
    return [Word(inputs), Captions(inputs, "said.txt"), PromptOnly(inputs), ImageOnly(inputs),
            Bipartite(inputs)]  # fmt: skip


def test_sample_i_is_the_same_whatever_it_is_generated_with(inputs):
    others = replace(inputs, pipeline=replace(inputs.pipeline, batch_size=5))
    for one, other in zip(subjects(inputs), subjects(others), strict=True):
        generated = one.generate([TEMPLATE], range(7))
        assert generated.shape == (7, 3, 16, 16) and generated.abs().max() <= 1 and not generated.requires_grad
        for samples in (range(7), range(3, 7), range(5, 6)):
            again = other.generate([TEMPLATE], samples)
            torch.testing.assert_close(again, generated[samples.start : samples.stop], atol=1e-5, rtol=0)


def test_several_templates_are_generated_as_one_by_one(inputs):
    templates = [TEMPLATE, "an oil painting of {}"]
    for subject in subjects(inputs):
        alone = [subject.generate([template], range(2, 5)) for template in templates]
        torch.testing.assert_close(subject.generate(templates, range(2, 5)), torch.cat(alone), atol=1e-5, rtol=0)


def test_the_seed_changes_every_picture_that_begins_with_noise(inputs):
    reseeded = replace(inputs, pipeline=replace(inputs.pipeline, seed=6))
    for one, other in zip(subjects(inputs)[:3], subjects(reseeded)[:3], strict=True):
        differ = (one.generate([TEMPLATE], range(3)) - other.generate([TEMPLATE], range(3))).abs().amax(dim=(1, 2, 3))
        assert (differ > 0.01).all()


def test_a_word_generates_what_its_prompt_generates(inputs):
    expected = generate(inputs, ["a photo of S* on the moon"] * 3, first=4, words=[inputs.word])
    torch.testing.assert_close(Word(inputs).generate([TEMPLATE], range(4, 7)), expected)
    other = replace(inputs, word=LearnedWord("S*", -inputs.word.vectors))
    assert not torch.allclose(Word(other).generate([TEMPLATE], range(4, 7)), expected, atol=1e-3)


def test_captions_take_the_lines_of_the_file_in_turn(inputs):
    expected = generate(inputs, [f"a photo of {LINES[i % 3]} on the moon" for i in range(2, 7)], first=2)
    torch.testing.assert_close(Captions(inputs, "said.txt").generate([TEMPLATE], range(2, 7)), expected)
    assert len(Captions(inputs, "said.txt").captions) == 3


def test_a_sample_of_each_of_many_templates_shows_every_caption(inputs):
    subject, templates = Captions(inputs, "said.txt"), [f"a photo of {{}} {place}" for place in "abcdefgh"]
    assert {subject._caption(template, 0) for template in templates} == set(subject.captions)


@pytest.mark.parametrize(("content", "what"), [(None, "there are no captions at"), (" \n\n", "is empty")])
def test_captions_that_are_not_there_are_asked_for(inputs, content, what):
    if content is not None:
        (inputs.folder / "long.txt").write_text(content)
    with pytest.raises(ValueError, match=rf"{what}.*one per line|long.txt {what}.*one per line"):
        Captions(inputs, "long.txt")


def test_the_prompt_only_leaves_the_word_out(inputs):
    assert without_word("A painting of {}, by night") == "A painting of , by night"
    assert without_word(TEMPLATE) == "a photo of on the moon" and without_word("{} there") == "there"
    torch.testing.assert_close(
        PromptOnly(inputs).generate([TEMPLATE], range(2)), generate(inputs, [without_word(TEMPLATE)] * 2)
    )


def test_the_images_themselves_answer_any_prompt(inputs):
    generated = ImageOnly(inputs).generate(["an oil painting of {}"], range(1, 6))
    assert torch.equal(generated, to_tensor(inputs.images)[[1, 2, 3, 0, 1]])


def test_bipartite_inversion_is_ddims_alone(inputs):
    other = replace(inputs, pipeline=replace(inputs.pipeline, sampler=Sampler(2, dpm_solver)))
    with pytest.raises(ValueError, match="not dpm_solver: use sampler=ddim"):
        Bipartite(other)


@pytest.mark.parametrize("subject", [Word, Bipartite])
def test_without_a_learned_word_the_user_is_told_to_give_one(inputs, subject):
    with pytest.raises(ValueError, match="no learned word to evaluate: add word="):
        subject(replace(inputs, word=None))


def test_who_needs_no_word_does_without(inputs):
    wordless = replace(inputs, word=None)
    for subject in (Captions(wordless, "said.txt"), PromptOnly(wordless), ImageOnly(wordless)):
        assert len(subject.generate([TEMPLATE], range(2))) == 2


def test_what_the_pictures_share_is_read_from_the_file_beside_them(tmp_path):
    assert labels_in(tmp_path) == {}
    (tmp_path / "concept.json").write_text(json.dumps({"name": "x", "labels": {"class": "cat"}}))
    assert labels_in(tmp_path) == {"class": "cat"}


def unguided(inputs, steps):
    return replace(inputs, pipeline=replace(inputs.pipeline, sampler=Sampler(steps), guidance=1.0))


def test_from_the_inverted_noise_the_source_prompt_generates_the_pictures_again(inputs):
    ldm, n = inputs.pipeline.ldm, len(inputs.images)
    with torch.no_grad():  # an untrained UNet is not smooth enough for inversion
        for parameter in ldm.unet.out[-1].parameters():
            parameter.mul_(0.01)
    target = ldm.decode_first_stage(ldm.encode_first_stage(to_tensor(inputs.images)).mean).clamp(-1, 1)

    def error(subject):
        return float((subject.generate([TEMPLATE], range(n)) - target).square().mean())

    coarse, fine = (error(Bipartite(unguided(inputs, steps), TEMPLATE)) for steps in (5, 30))
    assert fine < 0.1 * coarse
    for other in (Word(unguided(inputs, 30)), Bipartite(unguided(inputs, 30), "an oil painting of {}")):
        assert fine < 0.1 * error(other)


def test_from_the_inverted_noise_another_prompt_generates_something_else(inputs):
    subject = Bipartite(unguided(inputs, 10), TEMPLATE)
    assert not torch.allclose(
        subject.generate(["an oil painting of {}"], range(4)), subject.generate([TEMPLATE], range(4)), atol=1e-2
    )
