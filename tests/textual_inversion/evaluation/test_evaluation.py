"""The evaluation: its metrics depend only on the protocol, which is stored with them."""

import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ldm.images import to_tensor
from ldm.modules.text import WordPiece
from ldm.sampling import Sampler
from tests.conftest import VOCABULARY
from textual_inversion.evaluation.classifier import AttributeClassifier
from textual_inversion.evaluation.clip import SmallCLIP
from textual_inversion.evaluation.evaluation import Evaluation, Prompt, means, require_same_protocol, summary
from textual_inversion.evaluation.metrics import (
    image_similarity,
    published_text_similarity,
    similarity_among,
    text_similarity,
)
from textual_inversion.evaluation.reidentification import Lineup, ReIdentifier
from textual_inversion.evaluation.subjects import ImageOnly, Pipeline, SubjectInputs, Word
from textual_inversion.pictures import load_pictures
from textual_inversion.words.file import LearnedWord

PROMPTS = (
    Prompt("a photo of {} on the moon", "background", {"place": "moon"}),
    Prompt("a photo of {} on the beach", "background", {"place": "beach"}),
    Prompt("an oil painting of {}", "style"),
)
LABELS = {"class": ("cat", "owl"), "color": ("red", "blue"), "place": ("moon", "beach")}
TRUTH = {"class": "cat", "color": "blue"}


@pytest.fixture
def classifier():
    torch.manual_seed(7)  # a classifier with uncertain predictions
    return AttributeClassifier(LABELS, channels=(8, 8), blocks=(0, 1)).eval()


@pytest.fixture
def evaluation(classifier):
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"image_size": 16, "patch_size": 4, "image_width": 16, "image_layers": 1, "image_heads": 2}
    sizes |= {"text_width": 16, "text_layers": 1, "text_heads": 2, "projection": 8}
    clip = SmallCLIP(WordPiece(VOCABULARY, max_length=16), **sizes).eval()
    return Evaluation(clip, PROMPTS, samples=6, prompt_samples=4, classifier=classifier)


@pytest.fixture
def inputs(tiny_ldm, photos):
    word = LearnedWord("S*", torch.randn(1, 16, generator=torch.Generator().manual_seed(3)))
    pipeline = Pipeline(tiny_ldm, Sampler(2), guidance=2.0)
    return SubjectInputs(pipeline, word, photos, load_pictures(photos, 16).images)


@pytest.fixture
def evaluate(evaluation, inputs):
    """Evaluate the word, with changes to the pipeline and to the evaluation."""

    def run(pipeline=None, **changes):
        changed = replace(inputs, pipeline=replace(inputs.pipeline, **pipeline or {}))
        return replace(evaluation, **changes)(Word(changed), changed.pipeline, inputs.images, TRUTH, progress=False)

    return run


class Showing:
    """A subject with given images: [n, 3, H, W] for every template."""

    def __init__(self, images):
        self.images = images

    def generate(self, templates, samples):
        return self.images[samples.start : samples.stop].repeat(len(templates), 1, 1, 1)


def colourful(n):
    colours = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return colours.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)


def flat(value, name=""):
    """Return every number of a result, by its path."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{name}/{key}").items()}
    if isinstance(value, list):
        return {k: v for i, item in enumerate(value) for k, v in flat(item, f"{name}/{i}").items()}
    return {name: value} if isinstance(value, float) else {}


def test_numbers_do_not_depend_on_how_many_are_generated_at_once(evaluate):
    whole = flat(evaluate({"batch_size": 8}))
    assert len(whole) > 10
    for batch_size in (1, 3):
        assert flat(evaluate({"batch_size": batch_size})) == pytest.approx(whole, abs=1e-5)


def test_devices_that_share_the_samples_generate_what_one_generates(inputs):
    subject, prompt = Word(inputs), PROMPTS[0].text
    shares = [subject.generate([prompt], share) for share in (range(0, 3), range(3, 4), range(4, 6))]
    torch.testing.assert_close(torch.cat(shares), subject.generate([prompt], range(6)), atol=1e-5, rtol=0)


def test_the_same_protocol_gives_the_same_numbers_and_another_seed_others(evaluate):
    first = evaluate()
    torch.manual_seed(99)
    assert evaluate() == first
    other = evaluate({"seed": 1})
    for name in ("image_similarity", "text_similarity", "text_similarity_published"):
        assert abs(other[name] - first[name]) > 1e-5
    assert other["image_only"] == first["image_only"]


@torch.no_grad()
def test_numbers_are_the_metrics_of_what_the_subject_generates(evaluation, inputs):
    images = colourful(6)
    result = evaluation(Showing(images), inputs.pipeline, inputs.images)
    clip = evaluation.evaluator
    samples, references = clip.embed_images(images), clip.embed_images(to_tensor(inputs.images))
    (text,) = clip.embed_texts(["a photo of on the beach"])
    assert result["image_similarity"] == pytest.approx(image_similarity(samples, references), abs=1e-5)
    assert result["image_only"] == pytest.approx(similarity_among(references), abs=1e-5)
    row = result["prompts"][1]
    assert row["text_similarity"] == pytest.approx(text_similarity(samples[:4], text), abs=1e-5)
    assert row["text_similarity_published"] == pytest.approx(published_text_similarity(samples[:4], text), abs=1e-5)
    assert result["text_similarity"] == pytest.approx(sum(r["text_similarity"] for r in result["prompts"]) / 3)
    kinds = result["by_kind"]
    assert list(kinds) == ["background", "style"]
    assert kinds["style"]["text_similarity"] == result["prompts"][2]["text_similarity"]


def test_of_a_single_training_picture_there_is_no_similarity_among_them(evaluation, inputs):
    one = inputs.images[:1]
    result = evaluation(ImageOnly(replace(inputs, images=one)), inputs.pipeline, one)
    assert result["image_only"] is None and "image_only" not in summary(result)
    assert result["image_similarity"] is None and "image_similarity" not in summary(result)


def test_training_pictures_are_not_compared_with_themselves(evaluation, inputs):
    result = evaluation(ImageOnly(inputs), inputs.pipeline, inputs.images)
    assert result["image_similarity"] == result["image_only"] < 0.999


@torch.no_grad()
def test_all_training_pictures_are_compared_with_a_prompt(evaluation, inputs):
    result = replace(evaluation, prompt_samples=1)(ImageOnly(inputs), inputs.pipeline, inputs.images)
    clip = evaluation.evaluator
    (text,) = clip.embed_texts(["a photo of on the beach"])
    every = text_similarity(clip.embed_images(to_tensor(inputs.images)), text)
    assert result["prompts"][1]["text_similarity"] == pytest.approx(every, abs=1e-5)


def test_shown_kept_and_identity_are_the_classifiers_shares(evaluation, inputs, classifier):
    images = colourful(24)
    seen = classifier.names(images)
    result = replace(evaluation, samples=24, prompt_samples=16)(Showing(images), inputs.pipeline, inputs.images, TRUTH)
    assert result["identity"] == {name: seen[name].count(value) / 24 for name, value in TRUTH.items()}
    moon, beach, oil = result["prompts"]
    assert moon["shown"] == {"place": seen["place"][:16].count("moon") / 16}
    assert moon["shown"]["place"] + beach["shown"]["place"] == 1 and oil["shown"] == {}
    assert moon["kept"] == oil["kept"] == {"class": seen["class"][:16].count("cat") / 16}
    assert result["shown_place"] == pytest.approx(0.5) and "shown_place" not in result["by_kind"]["style"]
    shares = [*result["identity"].values(), *moon["shown"].values(), *moon["kept"].values()]
    assert sum(0 < share < 1 for share in shares) >= 2
    assert summary(result)["identity_color"] == result["identity"]["color"]


def test_demands_are_met_one_by_one_or_all_at_once(evaluation, inputs, classifier):
    both = Prompt("a photo of {} on the moon", "two", {"place": "moon", "color": "red"})
    images = colourful(16)
    seen = classifier.names(images)
    moon, red = ([one == value for one in seen[label]] for label, value in both.shows.items())
    asked = replace(evaluation, prompts=[both, PROMPTS[2]], prompt_samples=16, samples=1)
    result = asked(Showing(images), inputs.pipeline, inputs.images)
    met = {"met": (sum(moon) + sum(red)) / 32, "all_met": sum(m and r for m, r in zip(moon, red, strict=True)) / 16}
    assert 0 < met["all_met"] < met["met"] < 1
    assert [row["demands"] for row in result["prompts"]] == [pytest.approx(met), {}]
    numbers = summary(result)
    assert numbers["demands_met"] == numbers["demands_met_two"] == pytest.approx(met["met"])
    assert numbers["demands_all_met"] == pytest.approx(met["all_met"]) and "demands_met_style" not in numbers


def test_structure_is_that_of_the_training_picture_with_the_same_number(evaluation, inputs):
    training = to_tensor(inputs.images)
    again = training[[i % len(training) for i in range(6)]]
    moved = again.roll(1, dims=0)
    kept, lost = (evaluation(Showing(images), inputs.pipeline, inputs.images)["structure"] for images in (again, moved))
    assert kept == pytest.approx({"correlation": 1.0, "distance": 0.0}, abs=1e-6)
    assert lost["correlation"] < 0.9 and lost["distance"] > 1e-3
    darker = evaluation(Showing(0.5 * again), inputs.pipeline, inputs.images)
    correlations = [darker["structure"]["correlation"], darker["prompts"][0]["edited"]["correlation"]]
    assert correlations == pytest.approx([1.0, 1.0])
    assert summary(darker)["structure_distance"] == darker["structure"]["distance"]


def test_without_a_classifier_nothing_is_said_of_what_the_pictures_show(evaluate):
    result = evaluate(classifier=None)
    assert result["identity"] == {} and all(row["shown"] == row["kept"] == {} for row in result["prompts"])
    assert result["protocol"]["classifier"] is None
    similarities = {"image_similarity", "image_only", "text_similarity", "text_similarity_published"}
    assert set(summary(result)) == similarities | {"structure_correlation", "edited_correlation"}


def test_a_lineup_counts_for_toys_but_not_for_styles_or_for_the_images_themselves(evaluation, inputs):
    torch.manual_seed(0)
    network = ReIdentifier(AttributeClassifier(LABELS, channels=(8, 8), blocks=(0, 0)), dimension=8).eval()
    others = np.random.default_rng(0).integers(0, 256, (3, 2, 16, 16, 3)).astype(np.uint8)
    with_lineup = replace(evaluation, lineup=Lineup(network, lambda kind: others))
    own, training = to_tensor(inputs.images), inputs.images
    again = own[[i % len(own) for i in range(6)]]
    found = with_lineup(Showing(again), inputs.pipeline, training, TRUTH)
    assert found["reidentified"] == summary(found)["reidentified"] > 0.5 and found["protocol"]["lineup"]
    strange = with_lineup(Showing(to_tensor(others.reshape(-1, 16, 16, 3))), inputs.pipeline, training, TRUTH)
    assert strange["reidentified"] < 0.5
    assert "reidentified" not in with_lineup(Showing(again), inputs.pipeline, training, {"class": "cat"})
    assert "reidentified" not in with_lineup(ImageOnly(inputs), inputs.pipeline, training, TRUTH)


def test_a_label_that_the_classifier_does_not_know_is_an_error(evaluation, evaluate, inputs):
    asks = [Prompt("a photo of {} in the rain", "background", {"weather": "rain"})]
    with pytest.raises(ValueError, match="does not know weather: its labels are class, color, place"):
        evaluate(prompts=asks)
    with pytest.raises(ValueError, match="does not know size"):
        evaluation(ImageOnly(inputs), inputs.pipeline, inputs.images, {"size": "huge"})


def test_a_result_survives_json(evaluate):
    result = evaluate()
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize(
    ("what", "pipeline", "changes"),
    [
        ("seed", {"seed": 1}, {}),
        ("guidance", {"guidance": 5.0}, {}),
        ("sampler", {"sampler": Sampler(3)}, {}),
        ("samples", {}, {"samples": 5}),
        ("prompt_samples", {}, {"prompt_samples": 3}),
        ("prompts", {}, {"prompts": PROMPTS[:2]}),
        ("reconstruction", {}, {"reconstruction": "a picture of {}"}),
        ("classifier", {}, {"classifier": None}),
    ],
)
def test_results_of_unlike_protocols_are_not_compared_and_the_difference_is_named(evaluate, what, pipeline, changes):
    one, other = evaluate(), evaluate(pipeline, **changes)
    require_same_protocol({"this": one, "that": copy.deepcopy(one)})
    with pytest.raises(ValueError, match=f"^this and other cannot be compared: .* with a different {what}\\.$"):
        require_same_protocol({"this": one, "that": one, "other": other})


def test_the_batch_size_and_the_subject_are_no_part_of_the_protocol(evaluate, evaluation, inputs):
    images = evaluation(ImageOnly(inputs), inputs.pipeline, inputs.images)
    require_same_protocol({"word": evaluate({"batch_size": 1}), "images": images, "again": evaluate()})


def test_other_judges_and_another_model_are_another_protocol(evaluate, evaluation, build_ldm, awaken):
    first = evaluate()
    other = copy.deepcopy(evaluation.evaluator)
    with torch.no_grad():
        other.model.visual_projection.weight.mul_(-1)
    unlike = evaluate(evaluator=other), evaluate({"ldm": awaken(build_ldm(init=1)).eval()})
    for what, result in zip(("evaluator", "model"), unlike, strict=True):
        with pytest.raises(ValueError, match=f"different {what}\\."):
            require_same_protocol({"this": first, "other": result})


def test_a_mean_is_over_the_prompts_that_have_the_number():
    none: dict[str, Any] = {"demands": {}, "edited": {}}
    rows = [
        {"text_similarity": 0.2, "text_similarity_published": 0.1, "shown": {"place": 1.0}, "kept": {}} | none,
        {"text_similarity": 0.4, "text_similarity_published": 0.2, "shown": {}, "kept": {"class": 0.5}} | none,
    ]
    expected = {"text_similarity": 0.3, "text_similarity_published": 0.15, "shown_place": 1.0, "kept_class": 0.5}
    assert means(rows) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["a photo", "{} and {}"])
def test_a_prompt_has_one_place_for_the_word(text):
    with pytest.raises(ValueError, match="once, where the word goes"):
        Prompt(text, "background")


@pytest.mark.parametrize("changes", [{"samples": 0}, {"prompt_samples": 0}, {"prompts": ()}])
def test_an_evaluation_of_nothing_is_refused(evaluation, changes):
    with pytest.raises(ValueError, match="needs prompts and samples"):
        replace(evaluation, **changes)


def test_judges_are_made_ready_to_judge(evaluation):
    evaluation.evaluator.train()
    evaluation.classifier.train()
    assert evaluation.to("cpu") is evaluation
    for judge in (evaluation.evaluator, evaluation.classifier):
        assert not judge.training and not any(p.requires_grad for p in judge.parameters())
