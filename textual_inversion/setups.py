"""Setups: what each changes of the way a word is learned. The paper's others (Gal et al. 2022, section 5.1), and one
that is not in the paper. A new setup is a class here and a file in configs/setup."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ldm.keyed_random import generator

from .captions import SLOT, fill, pick, require_templates


class Setup:
    """The paper's own method. A setup is a subclass that overrides what it changes.

    Learner and pack call these methods for each concept. `vectors` are the concept's v* [k, d], a parameter, and
    `start` is where they began [k, d]."""

    def check(self, num_vectors: int, steps: int | None) -> None:
        """Raises ValueError for what cannot be learned with so many vectors in `steps` steps (None: not known)."""

    def active(self, num_vectors: int, step: int, steps: int) -> int:
        """How many of the vectors stand for the word at optimiser step `step` of `steps`: a pure function of it."""
        return num_vectors

    def extra_words(self, placeholder: str, pictures: int, width: int, seed: int) -> dict[str, Tensor]:
        """Words that learn beside the placeholder and are thrown away at the end: name -> start [k, width]."""
        return {}

    def caption(self, placeholder: str, templates: Sequence[str], picture: int, rng: torch.Generator) -> str:
        """The caption of a sample that shows picture number `picture`."""
        return fill(pick(templates, rng), placeholder)

    def penalty(self, vectors: Tensor, start: Tensor) -> Tensor:
        """Added to the loss of eq. 2."""
        return vectors.new_zeros(())

    def before_step(self, vectors: Tensor, start: Tensor) -> None:
        """Before the optimiser's step: may change `vectors.grad` in place."""

    def after_step(self, vectors: Tensor, start: Tensor) -> None:
        """After the optimiser's step: may change `vectors` in place."""


PAPER = Setup()


class Progressive(Setup):
    """The word grows: after each of the shares `grows_at` of the training, one more of the vectors joins."""

    def __init__(self, grows_at: Sequence[float]) -> None:
        if any(not 0 < share < 1 for share in grows_at) or list(grows_at) != sorted(grows_at):
            raise ValueError(f"grows_at is {list(grows_at)}: it must be rising shares of the training between 0 and 1")
        self.grows_at = tuple(grows_at)

    def check(self, num_vectors: int, steps: int | None) -> None:
        if len(self.grows_at) >= num_vectors:
            raise ValueError(
                f"grows_at is {list(self.grows_at)} for {num_vectors} vectors: it must be fewer shares than vectors"
            )
        if steps is None:
            raise ValueError("a word that grows must know how long the training is: give `steps`")

    def active(self, num_vectors: int, step: int, steps: int) -> int:
        return num_vectors - sum(step < share * steps for share in self.grows_at)


class Regularized(Setup):
    """The word is held near its coarse one: `weight` times the squared distance of each vector from its start joins
    the loss, mean over the vectors."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def penalty(self, vectors: Tensor, start: Tensor) -> Tensor:
        return self.weight * (vectors - start).square().sum(dim=1).mean()


class RegularizedPublished(Regularized):
    """As the official code has it: the mean of all k * k products of the differences, cross terms included. Of one
    vector it is the same."""

    def penalty(self, vectors: Tensor, start: Tensor) -> Tensor:
        difference = vectors - start
        return self.weight * (difference @ difference.T).mean()


class PerImage(Setup):
    """Each picture i has a word S_i for what only that picture shows: with probability `share` a caption is one of
    `templates`, in which S_i has the second {}."""

    def __init__(self, templates: Sequence[str], share: float = 0.25) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}: it must lie between 0 and 1")
        require_templates(templates, "the placeholder and the picture's own word go", slots=2)
        self.templates, self.share = tuple(templates), share

    @staticmethod
    def word(placeholder: str, picture: int) -> str:
        """S_i."""
        return f"{placeholder}-{picture}"

    def extra_words(self, placeholder: str, pictures: int, width: int, seed: int) -> dict[str, Tensor]:
        """Their start is uniform in [0, 1), as in the official code."""
        key = (1 << 31) - 1  # a step that no training reaches
        draws = [torch.rand(1, width, generator=generator(seed, key, i)) for i in range(pictures)]
        return {self.word(placeholder, i): draw for i, draw in enumerate(draws)}

    def caption(self, placeholder: str, templates: Sequence[str], picture: int, rng: torch.Generator) -> str:
        if torch.rand((), generator=rng) >= self.share:
            return super().caption(placeholder, templates, picture, rng)
        before, between, after = pick(self.templates, rng).split(SLOT)
        return f"{before}{placeholder}{between}{self.word(placeholder, picture)}{after}"


class Direction(Setup):
    """Only the direction of each vector learns (Directional Textual Inversion, 2026): under eq. 2 the norm of a word
    grows beyond that of the model's own words, and the rest of the prompt is heard less. Here the norm stays."""

    @torch.no_grad()
    def before_step(self, vectors: Tensor, start: Tensor) -> None:
        """Leaves the gradient on the sphere: what would change the norms is taken out."""
        if vectors.grad is not None:
            unit = vectors / vectors.norm(dim=1, keepdim=True)
            vectors.grad -= (vectors.grad * unit).sum(dim=1, keepdim=True) * unit

    @torch.no_grad()
    def after_step(self, vectors: Tensor, start: Tensor) -> None:
        """Brings the vectors back to the norms that they began with."""
        vectors *= (start.norm(dim=1) / vectors.norm(dim=1))[:, None]
