"""Captions for training: neutral templates with a slot for the placeholder (Gal et al. 2022, section 4.1)."""

from collections.abc import Sequence

import torch

from ldm.errors import UserError

SLOT = "{}"  # where the placeholder goes in a template


def fill(template: str, placeholder: str) -> str:
    """Replace the slots of the template by the placeholder, which may contain braces. Raises UserError if the template
    has no slot."""
    if SLOT not in template:
        raise UserError(f"the template {template!r} has no {SLOT} where {placeholder!r} could go")
    return template.replace(SLOT, placeholder)


def pick(templates: Sequence[str], rng: torch.Generator) -> str:
    """Draw one of the templates uniformly."""
    return templates[int(torch.randint(len(templates), (), generator=rng))]


def require_templates(templates: Sequence[str], what_goes_there: str, slots: int = 1) -> None:
    """Raise UserError unless every template has exactly `slots` slots {}."""
    if isinstance(templates, str):
        raise UserError(f"templates is the text {templates!r}: give a list of sentences")
    if not templates:
        example = " with ".join([SLOT] * slots)
        raise UserError(f"templates is empty: give at least one sentence such as 'a photo of {example}'")
    for template in templates:
        if template.count(SLOT) != slots:
            raise UserError(
                f"the template {template!r} holds {SLOT} {template.count(SLOT)} times: "
                f"it must stand there {'once' if slots == 1 else 'twice'}, where {what_goes_there}"
            )
