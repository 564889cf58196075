"""The texts that a concept is learned with: neutral sentences around the placeholder (Gal et al. 2022, section 4.1)."""

from collections.abc import Sequence

import torch

from .concept import SLOT, Concept


def fill(template: str, placeholder: str) -> str:
    """The template with the placeholder in its slot, braces in the placeholder included as they are."""
    if SLOT not in template:
        raise ValueError(f"the template {template!r} has no {SLOT} where {placeholder!r} could go")
    return template.replace(SLOT, placeholder)


def caption(concept: Concept, picture: int, generator: torch.Generator) -> str:
    """One of the concept's templates, each equally likely, with the placeholder filled in; at times one with the own
    word of its picture number `picture`, too."""
    own = concept.per_image
    if own is not None and torch.rand((), generator=generator) < own.share:
        template = _one_of(own.templates, generator)
        before, between, after = template.split(SLOT)
        return f"{before}{concept.placeholder}{between}{own_word(concept, picture)}{after}"
    return fill(_one_of(concept.templates, generator), concept.placeholder)


def own_word(concept: Concept, picture: int) -> str:
    """The placeholder of what only that picture shows, S_i."""
    return f"{concept.placeholder}-{picture}"


def _one_of(templates: Sequence[str], generator: torch.Generator) -> str:
    return templates[int(torch.randint(len(templates), (), generator=generator))]
