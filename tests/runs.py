"""What tests look at in the folder of a run."""

from pathlib import Path

import torch

from textual_inversion.words.file import load_words


def vectors(run: Path) -> torch.Tensor:
    """v* of the one word that the run has learned."""
    (word,) = load_words(run)
    return word.vectors
