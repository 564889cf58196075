"""The texts that a concept is learned with: neutral sentences around the placeholder (Gal et al. 2022, section 4.1)."""

import torch

from .concept import SLOT, Concept


def fill(template: str, placeholder: str) -> str:
    """The template with the placeholder in its slot, braces in the placeholder included as they are."""
    if SLOT not in template:
        raise ValueError(f"the template {template!r} has no {SLOT} where {placeholder!r} could go")
    return template.replace(SLOT, placeholder)


def caption(concept: Concept, generator: torch.Generator) -> str:
    """One of the concept's templates, each equally likely, with the placeholder filled in."""
    drawn = int(torch.randint(len(concept.templates), (), generator=generator))
    return fill(concept.templates[drawn], concept.placeholder)
