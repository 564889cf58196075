"""Setups: variants of how a word is learned, those of the paper (Gal et al. 2022, section 5.1) and some that are not in
the paper. A new setup is a class in this file and a config in configs/setup."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ldm.errors import UserError
from ldm.keyed_random import generator

from .captions import SLOT, fill, pick, require_templates
from .mapper import Mapper

_BEFORE_ALL = (1 << 31) - 1  # a step that no training reaches: the key of what is drawn before the first


class Setup:
    """The method of the paper. A setup is a subclass that overrides some of the methods.

    The learner and the pack call these methods for each concept. `vectors` is the parameter v* [k, d] of the concept,
    and `start` its initial value, both [k, d] unless `begin` gives them another shape. `templates` are templates of
    captions beside those of the concept."""

    templates: tuple[str, ...] = ()

    def check(self, num_vectors: int, steps: int | None) -> None:
        """Raise UserError if the setup cannot learn `num_vectors` vectors in `steps` steps (None: unknown)."""

    def active(self, num_vectors: int, step: int, steps: int) -> int:
        """Return how many of the vectors are in use at optimiser step `step` of `steps`. A pure function of its
        arguments."""
        return num_vectors

    def begin(self, vectors: Tensor, layers: int) -> Tensor:
        """Return what the training starts with: the `vectors` [k, d] of the coarse word or of a learned word, or for a
        model with that many cross-attention `layers` their own for each, [k, layers, d]. Raises UserError for vectors
        that the setup cannot go on from."""
        if vectors.ndim == 3:
            raise UserError("the word to start from has vectors for each layer: learn on with setup=per_layer.")
        return vectors

    def mapper(self, vectors: Tensor, layers: int, timesteps: int, seed: int) -> Mapper | None:
        """Return a mapper from (timestep, layer) to the word, which is learned together with its `vectors` [k, d]."""
        return None

    def kept(self, rng: torch.Generator) -> float:
        """Draw the share of the mapper's hidden units that a sample is learned with."""
        return 1.0

    def extra_words(self, placeholder: str, pictures: int, width: int, seed: int) -> dict[str, Tensor]:
        """Return words that are learned together with the placeholder and discarded at the end: name -> initial vectors
        [k, width]."""
        return {}

    def caption(self, placeholder: str, templates: Sequence[str], picture: int, rng: torch.Generator) -> str:
        """Draw the caption of a sample that shows the image with index `picture`."""
        return fill(pick(templates, rng), placeholder)

    def penalty(self, vectors: Tensor, start: Tensor) -> Tensor:
        """Return a penalty to add to the loss of eq. 2."""
        return vectors.new_zeros(())

    def before_step(self, vectors: Tensor, start: Tensor) -> None:
        """Called before the optimiser step; may change `vectors.grad` in place."""

    def after_step(self, vectors: Tensor, start: Tensor) -> None:
        """Called after the optimiser step; may change `vectors` in place."""


PAPER = Setup()


class Progressive(Setup):
    """Adds vectors during training: after each fraction of the training in `grows_at`, one more vector is in use."""

    def __init__(self, grows_at: Sequence[float]) -> None:
        if any(not 0 < share < 1 for share in grows_at) or list(grows_at) != sorted(grows_at):
            raise UserError(
                f"grows_at is {list(grows_at)}: it must be ascending fractions of the training, between 0 and 1"
            )
        self.grows_at = tuple(grows_at)

    def check(self, num_vectors: int, steps: int | None) -> None:
        if len(self.grows_at) >= num_vectors:
            raise UserError(
                f"grows_at is {list(self.grows_at)} for {num_vectors} vectors: it must have fewer entries than vectors"
            )
        if steps is None:
            raise UserError("Progressive needs the length of the training: pass `steps`")

    def active(self, num_vectors: int, step: int, steps: int) -> int:
        return num_vectors - sum(step < share * steps for share in self.grows_at)


class Regularized(Setup):
    """Regularises the word towards the coarse word: adds `weight` times the squared distance of each vector from its
    initial value to the loss, averaged over the vectors."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def penalty(self, vectors: Tensor, start: Tensor) -> Tensor:
        return self.weight * (vectors - start).square().sum(dim=1).mean()


class RegularizedPublished(Regularized):
    """The regularisation of the official code: the mean of all k * k products of the differences, including cross
    terms. With one vector it equals `Regularized`."""

    def penalty(self, vectors: Tensor, start: Tensor) -> Tensor:
        difference = vectors - start
        return self.weight * (difference @ difference.T).mean()


class PerImage(Setup):
    """Each image i has its own word S_i for what only that image shows. With probability `share`, a caption is one of
    `templates`, with S_i in the second slot {}."""

    def __init__(self, templates: Sequence[str], share: float = 0.25) -> None:
        if not 0 < share <= 1:
            raise UserError(f"share is {share}: it must be between 0 and 1")
        require_templates(templates, "the placeholder and the picture's own word go", slots=2)
        self.templates, self.share = tuple(templates), share

    @staticmethod
    def word(placeholder: str, picture: int) -> str:
        """Return the name of S_i."""
        return f"{placeholder}-{picture}"

    def extra_words(self, placeholder: str, pictures: int, width: int, seed: int) -> dict[str, Tensor]:
        """Return one word per image, initialised uniformly in [0, 1), as in the official code."""
        draws = [torch.rand(1, width, generator=generator(seed, _BEFORE_ALL, i)) for i in range(pictures)]
        return {self.word(placeholder, i): draw for i, draw in enumerate(draws)}

    def caption(self, placeholder: str, templates: Sequence[str], picture: int, rng: torch.Generator) -> str:
        if torch.rand((), generator=rng) >= self.share:
            return super().caption(placeholder, templates, picture, rng)
        before, between, after = pick(self.templates, rng).split(SLOT)
        return f"{before}{placeholder}{between}{self.word(placeholder, picture)}{after}"


class PerLayer(Setup):
    """Each cross-attention layer of the UNet reads vectors of its own (Extended Textual Inversion; Voynov et al. 2023,
    "P+"): v* is [k, layers, d], and all of it starts from the coarse word. A caption is encoded once for each layer."""

    def begin(self, vectors: Tensor, layers: int) -> Tensor:
        return vectors if vectors.ndim == 3 else vectors[:, None].repeat(1, layers, 1)


class SpaceTime(Setup):
    """A small network gives v* for each cross-attention layer and timestep (after NeTI; Alaluf et al. 2023); see
    `Mapper`. With probability `dropout` a sample is learned with only the first hidden units of the network, a random
    number of them (nested dropout)."""

    def __init__(self, dropout: float = 0.5) -> None:
        if not 0 <= dropout <= 1:
            raise UserError(f"dropout is {dropout}: it must be between 0 and 1")
        self.dropout = dropout

    def mapper(self, vectors: Tensor, layers: int, timesteps: int, seed: int) -> Mapper:
        return Mapper(vectors.norm(dim=1), layers, vectors.shape[1], timesteps, generator(seed, _BEFORE_ALL))

    def kept(self, rng: torch.Generator) -> float:
        dropped, share = torch.rand(2, generator=rng).tolist()
        return share if dropped < self.dropout else 1.0


class Direction(Setup):
    """Learns only the direction of each vector and keeps its norm (Directional Textual Inversion, 2026). Under eq. 2
    alone, the norm of a word grows beyond the norms of the model's own words, and the rest of the prompt loses
    influence."""

    @torch.no_grad()
    def before_step(self, vectors: Tensor, start: Tensor) -> None:
        """Project the gradient onto the sphere: remove the component that would change the norms."""
        if vectors.grad is not None:
            unit = vectors / vectors.norm(dim=1, keepdim=True)
            vectors.grad -= (vectors.grad * unit).sum(dim=1, keepdim=True) * unit

    @torch.no_grad()
    def after_step(self, vectors: Tensor, start: Tensor) -> None:
        """Rescale the vectors to their initial norms."""
        vectors *= (start.norm(dim=1) / vectors.norm(dim=1))[:, None]
