"""Textual inversion (Gal et al. 2022, eq. 2): v* = argmin_v E ||eps - eps_theta(z_t, t, c_theta(y))||^2, with
everything but v frozen. Several concepts can be learned at once: samples of a batch do not interact, so the gradient of
a concept depends only on its own samples."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from ldm.errors import UserError, require_whole
from ldm.images import to_tensor
from ldm.keyed_random import generator
from ldm.latent_diffusion import LatentDiffusion
from ldm.training.data import BatchStream, FixedBatches

from .concept import Concept
from .embedding_manager import EmbeddingManager
from .mapper import Mapper
from .objective import CompiledLosses, GraphedLosses, Objective, sample_losses
from .pictures import load_pictures
from .prompts import check_captions
from .start import start_of
from .words.file import LearnedWord
from .words.probing import Vocabulary

# Version of what the learning computes. Raise it with every change that moves a learned vector: scripts/reproduce.py
# then learns its words anew.
VERSION = 1
_VALIDATION = 1 << 31  # a step that no training reaches; the key of the fixed draws for validation


def concept_identity(concept: Concept) -> dict[str, Any]:
    """Return the fields of a concept in which a checkpoint and the run that resumes from it must agree."""
    return {name: getattr(concept, name) for name in ("placeholder", "num_vectors")}


class TextualInversion(L.LightningModule):
    """Learns the vectors of `concepts` for the frozen `ldm`, with `batch_size` samples per step, concept and process.

    The state dict holds only the embeddings. Images are resized to sides of `image_size` pixels. `steps` is the length
    of the training, which some setups need. The frozen UNet and text encoder compute in `frozen_dtype`, with
    torch.compile if `compiled` is True; v*, its optimiser and the loss are in float32. With `checkpointing`, the UNet
    keeps less for the backward pass and computes it again."""

    def __init__(
        self,
        ldm: LatentDiffusion,
        concepts: Sequence[Concept],
        image_size: int,
        batch_size: int = 4,
        weight_decay: float = 0.0,
        validation_draws: int = 32,
        frozen_dtype: torch.dtype = torch.float32,
        compiled: bool = False,
        checkpointing: bool = False,
        steps: int | None = None,
    ) -> None:
        super().__init__()
        self.strict_loading = False  # the frozen model is not in the checkpoint
        self._ddp_params_and_buffers_to_ignore = [
            f"ldm.{name}" for name in ldm.state_dict()
        ]  # DDP synchronises only v*
        self.ldm, self.frozen_dtype = ldm.eval().requires_grad_(False), frozen_dtype
        self.objective: Objective = CompiledLosses() if compiled else sample_losses
        ldm.unet.checkpointing = checkpointing
        self.concepts = tuple(concepts)
        self.batch_size, self.weight_decay, self.validation_draws = batch_size, weight_decay, validation_draws
        text = ldm.text_encoder
        placeholders = [concept.placeholder for concept in self.concepts]
        if len(set(placeholders)) < len(placeholders):
            raise UserError(f"two concepts share a placeholder: {placeholders}")
        require_whole("batch_size", batch_size, 1)
        if steps is not None:
            require_whole("steps", steps, 1)
        for concept in self.concepts:
            concept.setup.check(concept.num_vectors, steps)
        self.steps = steps or 0
        self.changes: list[dict[str, Any]] = []  # settings that were changed when the training went on, for provenance
        self.initial = {concept.placeholder: start_of(concept, ldm) for concept in self.concepts}
        self.pictures = [load_pictures(Path(c.images), image_size, c.first) for c in self.concepts]
        self.extra_words = [
            c.setup.extra_words(c.placeholder, len(pictures.images), text.width, c.seed)
            for c, pictures in zip(self.concepts, self.pictures, strict=True)
        ]
        everything = [self.initial, *self.extra_words]
        if len({name for words in everything for name in words}) < sum(map(len, everything)):
            raise UserError(f"an extra word of {placeholders} has the name of another word: rename the placeholders")
        self.embeddings = EmbeddingManager(
            text.tokenizer, {name: v for words in everything for name, v in words.items()}, self._mappers()
        )
        for concept in self.concepts:
            check_captions((*concept.templates, *concept.setup.templates), concept.placeholder, self.embeddings)

    def _mappers(self) -> dict[str, Mapper]:
        layers, timesteps = self.ldm.unet.cross_attention_layers, len(self.ldm.alpha_bar)
        made = {
            c.placeholder: c.setup.mapper(self.initial[c.placeholder], layers, timesteps, c.seed) for c in self.concepts
        }
        return {placeholder: mapper for placeholder, mapper in made.items() if mapper is not None}

    def vectors(self, concept: Concept) -> torch.nn.Parameter:
        """Return v* of the concept, [k, width], or [k, layers, width] with one vector for each layer."""
        return self._vectors(concept.placeholder)

    def _vectors(self, word: str) -> torch.nn.Parameter:
        return self.embeddings.vectors[self.embeddings.placeholders.index(word)]  # pyright: ignore

    def active(self, concept: Concept, step: int) -> int:
        """Return how many vectors of the concept are in use at optimiser step `step`."""
        return concept.setup.active(concept.num_vectors, step, self.steps)

    def learned(self, concept: Concept, step: int) -> Tensor:
        """Return the vectors of the concept that are in use at optimiser step `step`."""
        return self.vectors(concept)[: self.active(concept, step)]

    def word(self, concept: Concept, step: int, origin: dict[str, Any] | None = None) -> LearnedWord:
        """Return the word as it is at optimiser step `step`, with the provenance `origin`."""
        mapper = self.embeddings.mapper(concept.placeholder)
        return LearnedWord(
            concept.placeholder, self.learned(concept, step), origin or {}, mapper=mapper.state_dict() if mapper else {}
        )

    def numbers(self, step: int, *concepts: Concept) -> Tensor:
        """Return all numbers of the words of the concepts at optimiser step `step`, one after the other."""
        words = [self.word(concept, step) for concept in concepts]
        return torch.cat([x.flatten() for word in words for x in (word.vectors, *word.mapper.values())])

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        state = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if name.startswith("embeddings.")}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["concepts"] = [concept_identity(concept) for concept in self.concepts]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = [concept_identity(concept) for concept in self.concepts]
        found = [{name: concept.get(name) for name in own[0]} for concept in checkpoint["concepts"]]
        if found != own:
            raise UserError(f"the checkpoint is of {found}, not of {own}: use resume=null to start anew.")

    def setup(self, stage: str) -> None:
        """Cast the model before it is moved to the device: in half precision it needs half the memory."""
        self.ldm.freeze(self.frozen_dtype)

    def on_fit_start(self) -> None:
        """Encode every image and its mirror image once: moments [n, flip, mean and std, c, h, w] for each concept. Then
        move the autoencoder to the CPU to free memory; previews move it back for decoding."""
        self.moments = [torch.stack([self._encode(x) for x in to_tensor(p.images)]) for p in self.pictures]
        self.ldm.first_stage_model.cpu()
        self.initial = {placeholder: start.to(self.device) for placeholder, start in self.initial.items()}
        if self.device.type == "cuda" and not isinstance(self.objective, GraphedLosses):
            self.objective = GraphedLosses(self.objective)

    def _encode(self, x: Tensor) -> Tensor:
        posterior = self.ldm.encode_first_stage(torch.stack([x, x.flip(-1)]).to(self.device))
        return torch.stack([posterior.mean, posterior.std], dim=1).cpu()

    def draw(self, step: int, rank: int = 0) -> dict[str, Tensor]:
        """Draw the batch of optimiser step `step` in process `rank`. Every sample depends only on (the seed of its
        concept, step, index), so two processes with half the batch size draw the same samples as one."""
        samples = [
            self._sample(concept, moments, step, rank * self.batch_size + index)
            for concept, moments in zip(self.concepts, self.moments, strict=True)
            for index in range(self.batch_size)
        ]
        return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}

    def _sample(self, concept: Concept, moments: Tensor, step: int, index: int) -> dict[str, Tensor]:
        """Draw z_0 [c, h, w] from the posterior of a random image, the ids [n] of a random caption, t, and eps, shaped
        like z_0; and the share of a mapper's units that is kept."""
        rng = generator(concept.seed, step, index)
        picture = int(torch.randint(len(moments), (), generator=rng))
        flipped = int(torch.rand((), generator=rng) < 0.5 and concept.flip)
        mean, std = moments[picture, flipped]
        z_0 = mean + std * torch.randn(mean.shape, generator=rng)
        caption = concept.setup.caption(concept.placeholder, concept.templates, picture, rng)
        return {
            "z_0": z_0,
            "ids": self.embeddings.tokenize([caption], self.active(concept, step))[0],
            "t": torch.randint(len(self.ldm.alpha_bar), (), generator=rng),
            "eps": torch.randn(mean.shape, generator=rng),
            "kept": torch.tensor(concept.setup.kept(rng)),
        }

    def losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return eq. 2 for each concept: [len(concepts)]."""
        return self.per_concept(self.objective(self.ldm, self.embed(batch), batch["z_0"], batch["t"], batch["eps"]))

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Embed the captions of a batch to [b, n, width], or [b, layers, n, width], with v* for S*."""
        return self.embeddings.embed(batch["ids"], self.ldm.text_encoder.embed, batch["t"], batch["kept"])

    def per_concept(self, per_sample: Tensor) -> Tensor:
        """Average the losses [b] of a batch of `draw` over each concept: [len(concepts)]."""
        return per_sample.view(len(self.concepts), -1).mean(dim=1)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        losses = self.losses(batch)
        self.require_finite(losses, self.global_step)
        self.log("train/loss", losses.detach().mean(), prog_bar=True)
        return losses.sum() + self.penalty()  # the sum keeps each concept's gradient equal to that of its own mean

    def penalty(self) -> Tensor:
        """Return the penalty that the setups add to the loss, summed over the concepts."""
        return torch.stack([c.setup.penalty(self.vectors(c), self.initial[c.placeholder]) for c in self.concepts]).sum()

    @staticmethod
    def require_finite(losses: Tensor, step: int) -> None:
        """Raise RuntimeError if a loss is not finite. Checks only every 50th step, because the check waits for the
        GPU."""
        if step % 50 == 0 and not losses.isfinite().all():
            raise RuntimeError(f"the loss is {losses.tolist()} at step {step}: lower optim.lr.")

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.before_step(self.global_step)

    def before_step(self, step: int) -> None:
        """Check the gradients at step 0, and call the setups between the backward pass and optimiser step `step`."""
        if step == 0:
            self.require_gradients()
        for concept in self.concepts:
            concept.setup.before_step(self.vectors(concept), self.initial[concept.placeholder])

    def after_step(self, *_: Any) -> None:
        for concept in self.concepts:
            concept.setup.after_step(self.vectors(concept), self.initial[concept.placeholder])

    def require_gradients(self) -> None:
        """Raise RuntimeError unless every active vector has a finite, non-zero gradient. This detects a word that
        cannot learn at the first step."""
        for concept in self.concepts:
            vectors, active = self.vectors(concept), self.active(concept, 0)
            size = torch.zeros(active) if vectors.grad is None else vectors.grad[:active].norm(dim=-1)
            if not (size.isfinite().all() and (size > 0).all()):
                raise RuntimeError(
                    f"{concept.placeholder!r} cannot learn: the gradients of its vectors have norms {size.tolist()}."
                )

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        metrics = self.validation_metrics(self.losses(batch))
        self.log("val/loss", metrics.pop("val/loss"), prog_bar=True, sync_dist=True)
        self.log_dict(metrics, sync_dist=True)

    def validation_metrics(self, losses: Tensor) -> dict[str, Tensor]:
        """Return the loss on fixed draws of images, t and noise, which is comparable between steps, and the norm of v*
        and its cosine similarity to the initial vectors."""
        metrics = {"val/loss": losses.mean()}
        for concept, loss in zip(self.concepts, losses, strict=True):
            placeholder, vectors = concept.placeholder, self.vectors(concept)
            start = self.initial[placeholder]
            metrics |= {
                f"val/loss/{placeholder}": loss,
                f"val/norm/{placeholder}": vectors.norm(dim=-1).mean(),
                f"val/cosine_to_initial/{placeholder}": F.cosine_similarity(vectors, start, dim=-1).mean(),
            }
        return metrics

    def nearest_words(self, placeholder: str, count: int = 5) -> list[str]:
        """Return the words of the vocabulary with the largest cosine similarity to the placeholder's first vector, or
        to its mean over the layers."""
        text, first = self.ldm.text_encoder, self._vectors(placeholder)[0]
        return [word for word, _ in Vocabulary.of(text).nearest(first.view(-1, text.width).mean(dim=0), count)]

    def train_dataloader(self) -> DataLoader:
        return DataLoader(BatchStream(partial(self.draw, rank=self.global_rank), self.global_step), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(FixedBatches(self.validation_batches()), batch_size=None)

    def validation_batches(self) -> list[dict[str, Tensor]]:
        """Draw the fixed batches of validation, which use all of a mapper's units."""
        batches = [self.draw(_VALIDATION + i) for i in range(math.ceil(self.validation_draws / self.batch_size))]
        return [batch | {"kept": torch.ones_like(batch["kept"])} for batch in batches]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(self.parameter_groups())
        optimizer.register_step_post_hook(self.after_step)
        return optimizer

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return one parameter group per concept: its vectors, then those of the extra words of its setup, then its
        mapper's."""
        mappers = [self.embeddings.mapper(c.placeholder) for c in self.concepts]
        return [
            {
                "params": [self.vectors(c), *map(self._vectors, extra), *(mapper.parameters() if mapper else ())],
                "lr": c.learning_rate,
                "weight_decay": self.weight_decay,
            }
            for c, extra, mapper in zip(self.concepts, self.extra_words, mappers, strict=True)
        ]
