"""Re-identification: batches of pairs, the loss, and the line-up of a thing among others of its class."""

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as L
import torch

from ldm.errors import UserError
from ldm.images import to_tensor
from textual_inversion.evaluation.classifier import AttributeClassifier
from textual_inversion.evaluation.reidentification import Lineup, PairData, ReIdentifier, centre, nearest, things_of


def flat(value: int) -> np.ndarray:
    return np.full((16, 16, 3), value, np.uint8)


@dataclass
class Things:
    """Two classes with three things of two images each; image i shows thing i % 6."""

    count: int = 12

    @property
    def images(self) -> np.ndarray:
        return np.stack([flat(10 * i) for i in range(self.count)])

    def labels(self, index: int) -> dict[str, str]:
        return {"class": "cat" if index % 6 < 3 else "dog", "toy": str(index % 6)}

    def __len__(self) -> int:
        return self.count

    def prepare(self) -> None:
        pass

    def caption(self, index: int, draw: int) -> str:
        return "a thing"


class Textures(Things):
    """As `Things`, with a texture for each thing."""

    @property
    def images(self) -> np.ndarray:
        textures = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3))
        return np.stack([textures[i % 6] // 2 + 10 * (i // 6) for i in range(self.count)]).astype(np.uint8)


def network(**settings) -> ReIdentifier:
    torch.manual_seed(0)
    return ReIdentifier(AttributeClassifier({"class": ("cat", "dog")}, (8, 16), (0, 0)), dimension=4, **settings).eval()


def test_the_images_of_each_thing_are_found():
    cats, dogs = things_of(Things())
    assert [list(images) for images in cats] == [[0, 6], [1, 7], [2, 8]]
    assert [list(images) for images in dogs] == [[3, 9], [4, 10], [5, 11]]
    unlabelled = SimpleNamespace(images=Things().images)
    with pytest.raises(UserError, match="have no labels"):
        things_of(unlabelled)
    with pytest.raises(UserError, match="need the labels 'class' and 'toy'"):
        things_of(SimpleNamespace(images=Things().images, labels=lambda index: {"class": "cat"}))
    with pytest.raises(UserError, match="at least two images"):
        things_of(Things(count=7))


def test_both_halves_of_a_batch_show_the_same_things_of_one_class():
    source = Things()
    data = PairData(source, source, batch_size=6, val_size=12)
    for step in range(4):
        one, other = np.split(data._indices(step), 2)
        assert (one % 6 == other % 6).all() and (one != other).all()
        assert len({source.labels(i)["class"] for i in one}) == 1 and len(set(one % 6)) == 3


def test_embeddings_have_unit_length_and_the_loss_falls_when_pairs_are_alike():
    model = network()
    embedded = model.embed(to_tensor(np.stack([flat(0), flat(90), flat(200)])))
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(3))
    apart = torch.eye(4)
    assert model._loss(apart, apart) < 1e-3 < model._loss(apart, apart.flip(0))


def test_the_nearest_thing_is_that_of_the_smallest_angle():
    things = centre(torch.tensor([[[1.0, 0.1], [1.0, -0.1]], [[0.1, 1.0], [-0.1, 1.0]]]))
    torch.testing.assert_close(things, torch.eye(2))
    queries = torch.tensor([[0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    assert nearest(queries, things).tolist() == [0, 1, 1]


class Brightness(ReIdentifier):
    """Embeds the brightness of an image as an angle."""

    def __init__(self) -> None:
        super().__init__(AttributeClassifier({"class": ("cat",)}, (8,), (0,)))

    def forward(self, x):
        angle = x.mean(dim=(1, 2, 3))
        return torch.stack([angle.cos(), angle.sin()], dim=1)


def test_a_lineup_counts_the_images_that_show_the_very_thing():
    asked = []

    def others(kind: str) -> np.ndarray:
        asked.append(kind)
        return np.stack([np.stack([flat(0), flat(10)]), np.stack([flat(240), flat(250)])])

    lineup = Lineup(Brightness(), others)
    own = np.stack([flat(120), flat(130)])
    images = to_tensor(np.stack([flat(125), flat(110), flat(5), flat(250)]))
    assert lineup.found(images, own, "cat") == 0.5
    assert lineup.found(images[:2], own, "cat") == 1.0 and asked == ["cat"]
    more = np.stack(
        [flat(120), flat(130), *[flat(250)] * 6]
    )  # two images represent each thing, so the others do not count
    assert lineup.found(images, more, "cat") == 0.5


@pytest.mark.filterwarnings("ignore:Found .* in eval mode", "ignore:The .*does not have many workers")
def test_it_learns_to_find_the_other_image():
    source = Textures()
    data = PairData(source, source, batch_size=6, val_size=12)
    module = network(optimizer=partial(torch.optim.Adam, lr=1e-2))
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(max_steps=30, val_check_interval=30, accelerator="cpu", **quiet)
    trainer.fit(module, data)
    assert trainer.logged_metrics["val/found"] == 1.0
