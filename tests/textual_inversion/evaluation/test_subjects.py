"""What stands in for S*: each paints what it promises, and sample i whatever it is painted with."""

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
from textual_inversion.generation import generate, manager_of
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


def paint(inputs, prompts, first=0, words=()):
    pipeline = inputs.pipeline
    embeddings = manager_of(pipeline.ldm, words) if words else None
    return generate(
        pipeline.ldm, prompts, embeddings, sampler=pipeline.sampler, guidance=pipeline.guidance, seed=pipeline.seed,
        indices=range(first, first + len(prompts)), progress=False,
    )  # fmt: skip


def subjects(inputs):
    return [Word(inputs), Captions(inputs, "said.txt"), PromptOnly(inputs), ImageOnly(inputs),
            Bipartite(inputs)]  # fmt: skip


def test_sample_i_is_the_same_whatever_it_is_painted_with(inputs):
    others = replace(inputs, pipeline=replace(inputs.pipeline, batch_size=5))
    for one, other in zip(subjects(inputs), subjects(others), strict=True):
        painted = one.paint([TEMPLATE], range(7))
        assert painted.shape == (7, 3, 16, 16) and painted.abs().max() <= 1 and not painted.requires_grad
        for samples in (range(7), range(3, 7), range(5, 6)):
            again = other.paint([TEMPLATE], samples)
            torch.testing.assert_close(again, painted[samples.start : samples.stop], atol=1e-5, rtol=0)


def test_several_templates_are_painted_as_one_by_one(inputs):
    templates = [TEMPLATE, "an oil painting of {}"]
    for subject in subjects(inputs):
        alone = [subject.paint([template], range(2, 5)) for template in templates]
        torch.testing.assert_close(subject.paint(templates, range(2, 5)), torch.cat(alone), atol=1e-5, rtol=0)


def test_the_seed_changes_every_picture_that_begins_with_noise(inputs):
    reseeded = replace(inputs, pipeline=replace(inputs.pipeline, seed=6))
    for one, other in zip(subjects(inputs)[:3], subjects(reseeded)[:3], strict=True):
        differ = (one.paint([TEMPLATE], range(3)) - other.paint([TEMPLATE], range(3))).abs().amax(dim=(1, 2, 3))
        assert (differ > 0.01).all()


def test_a_word_paints_what_its_prompt_paints(inputs):
    expected = paint(inputs, ["a photo of S* on the moon"] * 3, first=4, words=[inputs.word])
    torch.testing.assert_close(Word(inputs).paint([TEMPLATE], range(4, 7)), expected)
    other = replace(inputs, word=LearnedWord("S*", -inputs.word.vectors))
    assert not torch.allclose(Word(other).paint([TEMPLATE], range(4, 7)), expected, atol=1e-3)


def test_captions_take_the_lines_of_the_file_in_turn(inputs):
    expected = paint(inputs, [f"a photo of {LINES[i % 3]} on the moon" for i in range(2, 7)], first=2)
    torch.testing.assert_close(Captions(inputs, "said.txt").paint([TEMPLATE], range(2, 7)), expected)
    assert len(Captions(inputs, "said.txt").captions) == 3


@pytest.mark.parametrize(("content", "what"), [(None, "there are no captions at"), (" \n\n", "is empty")])
def test_captions_that_are_not_there_are_asked_for(inputs, content, what):
    if content is not None:
        (inputs.folder / "long.txt").write_text(content)
    with pytest.raises(ValueError, match=rf"{what}.*one phrase a line|long.txt {what}.*one phrase a line"):
        Captions(inputs, "long.txt")


def test_the_prompt_only_leaves_the_word_out(inputs):
    assert without_word("A painting of {}, by night") == "A painting of , by night"
    assert without_word(TEMPLATE) == "a photo of on the moon" and without_word("{} there") == "there"
    torch.testing.assert_close(
        PromptOnly(inputs).paint([TEMPLATE], range(2)), paint(inputs, [without_word(TEMPLATE)] * 2)
    )


def test_the_images_themselves_answer_any_prompt(inputs):
    painted = ImageOnly(inputs).paint(["an oil painting of {}"], range(1, 6))
    assert torch.equal(painted, to_tensor(inputs.images)[[1, 2, 3, 0, 1]])


def test_bipartite_inversion_is_ddims_alone(inputs):
    other = replace(inputs, pipeline=replace(inputs.pipeline, sampler=Sampler(2, dpm_solver)))
    with pytest.raises(ValueError, match="dpm_solver cannot follow: give sampler=ddim"):
        Bipartite(other)


@pytest.mark.parametrize("subject", [Word, Bipartite])
def test_without_a_learned_word_the_user_is_told_to_give_one(inputs, subject):
    with pytest.raises(ValueError, match="no learned word to evaluate: give word="):
        subject(replace(inputs, word=None))


def test_who_needs_no_word_does_without(inputs):
    wordless = replace(inputs, word=None)
    for subject in (Captions(wordless, "said.txt"), PromptOnly(wordless), ImageOnly(wordless)):
        assert len(subject.paint([TEMPLATE], range(2))) == 2


def test_what_the_pictures_share_is_read_from_the_file_beside_them(tmp_path):
    assert labels_in(tmp_path) == {}
    (tmp_path / "concept.json").write_text(json.dumps({"name": "x", "labels": {"class": "cat"}}))
    assert labels_in(tmp_path) == {"class": "cat"}


def unguided(inputs, steps):
    return replace(inputs, pipeline=replace(inputs.pipeline, sampler=Sampler(steps), guidance=1.0))


def test_from_the_inverted_noise_the_source_prompt_paints_the_pictures_again(inputs):
    ldm, n = inputs.pipeline.ldm, len(inputs.images)
    with torch.no_grad():  # an untrained UNet leaps, which no inversion can follow
        for parameter in ldm.unet.out[-1].parameters():
            parameter.mul_(0.01)
    target = ldm.decode_first_stage(ldm.encode_first_stage(to_tensor(inputs.images)).mean).clamp(-1, 1)

    def error(subject):
        return float((subject.paint([TEMPLATE], range(n)) - target).square().mean())

    coarse, fine = (error(Bipartite(unguided(inputs, steps), TEMPLATE)) for steps in (10, 60))
    assert fine < 0.1 * coarse
    for other in (Word(unguided(inputs, 60)), Bipartite(unguided(inputs, 60), "an oil painting of {}")):
        assert fine < 0.1 * error(other)


def test_from_the_inverted_noise_another_prompt_paints_something_else(inputs):
    subject = Bipartite(unguided(inputs, 20), TEMPLATE)
    assert not torch.allclose(
        subject.paint(["an oil painting of {}"], range(4)), subject.paint([TEMPLATE], range(4)), atol=1e-2
    )
