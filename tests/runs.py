"""Helpers that read the output in a run folder."""

from pathlib import Path

import torch

from textual_inversion.words.file import load_words


def vectors(run: Path) -> torch.Tensor:
    """Return v* of the only word that the run has learned."""
    (word,) = load_words(run)
    return word.vectors
