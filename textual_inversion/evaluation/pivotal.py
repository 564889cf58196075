"""Pivotal tuning (Gal et al. 2022, appendix A, after Roich et al. 2022): fix the learned v* and fine-tune the UNet on
the training images. Shapes are reproduced more closely, but editing gets worse as guidance grows."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
from torch import Tensor

from ldm.errors import UserError
from ldm.latent_diffusion import LatentDiffusion
from ldm.training.progress import StepProgress

from ..concept import Concept
from ..learner import TextualInversion
from ..setups import PAPER, PerLayer
from ..words.file import LearnedWord
from .subjects import SubjectInputs, Word

_PER_LAYER = PerLayer()  # one, since the cache of `tune` compares setups by identity


class PivotalTuning(L.LightningModule):
    """Fine-tunes the UNet of `inversion` on the images and captions of its concepts, with fixed words."""

    def __init__(self, inversion: TextualInversion, learning_rate: float) -> None:
        super().__init__()
        self.inversion, self.learning_rate = inversion, learning_rate
        inversion.requires_grad_(False)
        inversion.ldm.unet.requires_grad_(True)

    def on_fit_start(self) -> None:
        self.inversion.on_fit_start()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        losses = self.inversion.losses(batch)
        self.inversion.require_finite(losses, self.global_step)
        return losses.sum()

    def train_dataloader(self) -> Any:
        return self.inversion.train_dataloader()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.inversion.ldm.unet.parameters(), lr=self.learning_rate, weight_decay=0.0)


@lru_cache(maxsize=1)  # figures use one tuned model at several guidance scales
def tune(
    ldm: LatentDiffusion, concept: Concept, vectors: tuple[float, ...], image_size: int, steps: int
) -> LatentDiffusion:
    """Return a copy of `ldm` whose UNet is fine-tuned on the concept's images with the fixed `vectors` of the word, as
    `vectors_of` gives them. The learning rate of the concept is used for the UNet. The copy is in float32: half
    precision would round the small updates away."""
    copied = copy.deepcopy(ldm).freeze()
    inversion = TextualInversion(copied, [concept], image_size)
    with torch.no_grad():
        inversion.vectors(concept).copy_(torch.tensor(vectors).view_as(inversion.vectors(concept)))
    trainer = L.Trainer(
        max_steps=steps,
        accelerator="auto",
        devices=1,
        callbacks=[StepProgress()],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(PivotalTuning(inversion, concept.learning_rate))
    copied.zero_grad()
    return copied.freeze().to(ldm.device)


def concept_of(
    word: LearnedWord, images: Path, templates: Sequence[str], learning_rate: float, seed: int, first: int | None
) -> Concept:
    """Return the concept of a learned word, to tune a model on its images. Raises UserError if the word's file does not
    name its initializer."""
    word.require_no_mapper("tuning a model around a word")
    initializer = word.provenance.get("initializer")
    if initializer is None:
        raise UserError(f"the file of {word.placeholder!r} does not name its initializer: learn the word again.")
    return Concept(
        word.placeholder,
        initializer,
        images=str(images),
        templates=tuple(templates),
        learning_rate=learning_rate,
        num_vectors=len(word.vectors),
        seed=seed,
        first=first,
        setup=PAPER if word.layers is None else _PER_LAYER,
    )


def vectors_of(word: LearnedWord) -> tuple[float, ...]:
    """Return the numbers of the word's vectors, which can be a key of a cache."""
    return tuple(word.vectors.flatten().tolist())


class Pivotal(Word):
    """The word in a copy of the model whose UNet is fine-tuned on the concept's images."""

    def __init__(self, inputs: SubjectInputs, steps: int, learning_rate: float, templates: Sequence[str]) -> None:
        word, pipeline = inputs.require_word(), inputs.pipeline
        concept = concept_of(word, inputs.folder, templates, learning_rate, pipeline.seed, len(inputs.images))
        ldm = tune(pipeline.ldm, concept, vectors_of(word), inputs.images.shape[1], steps)
        super().__init__(replace(inputs, pipeline=replace(pipeline, ldm=ldm)))
