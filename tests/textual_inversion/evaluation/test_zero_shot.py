"""Zero-shot answers are the nearest names, in the order of the names, over all sentence forms."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from ldm.training.data import val_batches
from textual_inversion.evaluation.zero_shot import Question, embed_names, zero_shot
from toyland.attributes import BACKGROUNDS, CLASSES, STYLES
from toyland.captions import VOCABULARY, words
from toyland.dataset import RenderedScenes

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
COLORS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}


class ColorEmbedder:
    """A picture is its mean colour; a sentence is the colours it names, and leans towards red in a "photo"."""

    def embed_images(self, x: Tensor) -> Tensor:
        return F.normalize(x.mean(dim=(2, 3)), dim=-1)

    def embed_texts(self, texts: list[str]) -> Tensor:
        vectors = [sum(torch.tensor(v) for name, v in COLORS.items() if name in text) for text in texts]
        bias = [torch.tensor((9.0, 0.0, 0.0)) * ("photo" in text) for text in texts]
        return F.normalize(torch.stack(vectors) + torch.stack(bias), dim=-1)


def picture(name: str) -> Tensor:
    return torch.tensor(COLORS[name])[:, None, None].expand(3, 8, 8)


@pytest.mark.parametrize("names", [["red", "green", "blue"], ["blue", "red", "green"]])
def test_the_index_is_that_of_the_picture_s_name(names):
    images = torch.stack([picture("blue"), picture("red"), picture("green"), picture("blue")])
    chosen = zero_shot(ColorEmbedder(), images, names, ["the color {}"])
    assert [names[i] for i in chosen] == ["blue", "red", "green", "blue"]


def test_forms_are_averaged_and_the_mean_has_unit_length():
    forms = ["the color {}", "{}", "a photo of {}"]
    vectors = embed_names(ColorEmbedder(), list(COLORS), forms)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
    by_hand = sum(ColorEmbedder().embed_texts([form.format("green")])[0] for form in forms)
    torch.testing.assert_close(vectors[1], F.normalize(by_hand, dim=-1))


def test_a_question_puts_words_to_labels():
    question = Question({"moon": "on the moon", "beach": "on the beach"}, ["a cat {}"])
    assert question.words == ["on the moon", "on the beach"]
    assert question.index("beach") == 1
    with pytest.raises(ValueError, match="'desert' is none of"):
        question.index("desert")


@pytest.mark.parametrize(
    ("names", "forms", "message"),
    [
        ({}, ["a {}"], "names"),
        ({"cat": "cat"}, [], "forms"),
        ({"cat": "cat"}, ["a photo of a cat"], "a photo of a cat"),
        ({"cat": "cat"}, ["{} and {}"], "{} and {}"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(names, forms, message):
    with pytest.raises(ValueError, match=message):
        Question(names, forms)


@pytest.fixture(scope="module")
def toyland_questions() -> dict[str, Question]:
    return instantiate(OmegaConf.load(CONFIGS / "questions" / "toyland.yaml"), _convert_="all")


def test_toyland_is_asked_about_all_it_shows(toyland_questions):
    shown = {"class": dict(zip(CLASSES, CLASSES, strict=True)), "background": BACKGROUNDS, "style": STYLES}
    assert {name: question.names for name, question in toyland_questions.items()} == shown


def test_toyland_is_asked_in_its_own_words(toyland_questions):
    for question in toyland_questions.values():
        said = {word for form in question.forms for name in question.words for word in words(form.format(name))}
        assert said <= VOCABULARY


def test_held_out_batches_hold_the_answers(toyland_questions):
    scenes = RenderedScenes("unused", seed=2, count=6, held_out=True)
    scenes.images = np.zeros((6, 8, 8, 3), np.uint8)
    batches = val_batches(scenes, 6, batch_size=4)
    assert [len(batch["label_class"]) for batch in batches] == [4, 2]
    for name, question in toyland_questions.items():
        labels = [label for batch in batches for label in batch[f"label_{name}"]]
        assert labels == [scenes.labels(i)[name] for i in range(6)]
        assert all(question.index(label) >= 0 for label in labels)
