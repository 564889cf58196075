"""Concepts that are learned in milliseconds: four 16x16 images, and the tiny model of tests/conftest.py."""

import numpy as np
import pytest
from PIL import Image

from textual_inversion.concept import Concept


@pytest.fixture
def photos(tmp_path):
    """A folder with four smooth images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    coarse = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 3), dtype=np.uint8)
    for i, image in enumerate(coarse.repeat(8, axis=1).repeat(8, axis=2)):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def concept(photos):
    """Return a builder of concepts, with the arguments of Concept."""

    def build(placeholder: str = "S*", initializer: str = "cat", **changes) -> Concept:
        templates = ("a photo of {}", "a photo of my {}", "the photo of a {}")
        settings = {"images": str(photos), "templates": templates, "learning_rate": 0.01}
        return Concept(placeholder, initializer, **settings | changes)

    return build


@pytest.fixture
def inversion(tiny_ldm):
    """Return a builder of learners for the tiny model, with the arguments of TextualInversion."""
    from textual_inversion.learner import TextualInversion

    def build(*concepts: Concept, **changes) -> TextualInversion:
        settings = {"ldm": tiny_ldm, "image_size": 16, "batch_size": 2, "validation_draws": 4}
        return TextualInversion(concepts=concepts, **settings | changes)

    return build


@pytest.fixture
def trainer():
    """Return a builder of quiet trainers, with the arguments of Trainer."""
    import pytorch_lightning as L

    def build(max_steps: int, **changes) -> L.Trainer:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        quiet |= {"enable_model_summary": False, "limit_val_batches": 0, "num_sanity_val_steps": 0}
        return L.Trainer(accelerator="cpu", max_steps=max_steps, **quiet | changes)

    return build
