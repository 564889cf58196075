"""Pivotal tuning (Gal et al. 2022, appendix A, after Roich et al. 2022): once v* is found it stays, and the UNet itself
learns the pictures. Shapes get closer; editing suffers as guidance grows."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytorch_lightning as L
import torch
from torch import Tensor

from ldm.progress import StepProgress

from .concept import Concept
from .learner import TextualInversion
from .subjects import Material, Word


class PivotalTuning(L.LightningModule):
    """Trains the UNet of `inversion`, whose words stay as they are, on the batches that its words were learned from."""

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


class Pivotal(Word):
    """The word in a copy of the model whose UNet has learned the concept's pictures with it."""

    def __init__(self, material: Material, steps: int, learning_rate: float, templates: Sequence[str]) -> None:
        word, painter = material.learned(), material.painter
        initializer = word.provenance.get("initializer")
        if initializer is None:
            raise ValueError(f"the file of {word.placeholder!r} does not say what it was learned from: learn it here.")
        concept = Concept(
            word.placeholder,
            initializer,
            images=str(material.folder),
            templates=tuple(templates),
            learning_rate=learning_rate,
            num_vectors=len(word.vectors),
            seed=painter.seed,
            first=len(material.images),
        )
        ldm = copy.deepcopy(painter.ldm).frozen()  # float32: half precision would round small steps away
        inversion = TextualInversion(ldm, [concept], material.images.shape[1])
        with torch.no_grad():
            inversion.vectors(concept).copy_(word.vectors)
        trainer = L.Trainer(
            max_steps=steps,
            accelerator="auto",
            devices=1,
            callbacks=[StepProgress()],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        trainer.fit(PivotalTuning(inversion, learning_rate))
        tuned = ldm.frozen(cast(torch.dtype, painter.ldm.unet.dtype)).to(painter.ldm.device)
        super().__init__(replace(material, painter=replace(painter, ldm=tuned)))
