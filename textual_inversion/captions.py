"""The texts that a concept is learned with: neutral sentences around the placeholder (Gal et al. 2022, section 4.1)."""

from collections.abc import Sequence

import torch

SLOT = "{}"  # where the placeholder goes in a template


def fill(template: str, placeholder: str) -> str:
    """The template with the placeholder in its slot, braces in the placeholder included as they are."""
    if SLOT not in template:
        raise ValueError(f"the template {template!r} has no {SLOT} where {placeholder!r} could go")
    return template.replace(SLOT, placeholder)


def pick(templates: Sequence[str], rng: torch.Generator) -> str:
    """One of the templates, each equally likely."""
    return templates[int(torch.randint(len(templates), (), generator=rng))]


def require_templates(templates: Sequence[str], what_goes_there: str, slots: int = 1) -> None:
    """Raises ValueError unless each of them has that many {}."""
    if isinstance(templates, str):
        raise ValueError(f"templates is the text {templates!r}: give a list of sentences")
    if not templates:
        example = " with ".join([SLOT] * slots)
        raise ValueError(f"templates is empty: give at least one sentence such as 'a photo of {example}'")
    for template in templates:
        if template.count(SLOT) != slots:
            raise ValueError(
                f"the template {template!r} holds {SLOT} {template.count(SLOT)} times: "
                f"it must stand there {'once' if slots == 1 else 'twice'}, where {what_goes_there}"
            )
