"""Plots of what a learned word means: its neighbours in the vocabulary, its length, and where it is attended to."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from ldm.images import to_uint8

from ..words.probing import Attended
from .plots import COLORS, figure, save


def vocabulary_plot(
    path: Path, nearest: Mapping[str, Mapping[str, float]], vocabulary_norms: Tensor, norms: Mapping[str, float]
) -> None:
    """Plot the nearest words of each named vector with their cosine similarities, and the named `norms` in the
    histogram of the vocabulary's."""
    with figure(2.6 * (len(nearest) + 1), 2.8) as fig:
        *panels, last = fig.subplots(1, len(nearest) + 1)
        for axes, (name, words) in zip(panels, nearest.items(), strict=True):
            axes.barh(list(words), list(words.values()), color=COLORS[0])
            axes.invert_yaxis()
            axes.set(title=f"words nearest to {name}", xlabel="cosine similarity", xlim=(0, 1))
        last.hist(vocabulary_norms.numpy(), bins=30, color="0.8")
        for i, (name, norm) in enumerate(norms.items()):
            last.axvline(norm, color=COLORS[i % len(COLORS)], label=name)
        last.set(title="the vocabulary's norms", xlabel="norm", ylabel="words")
        last.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)
        save(fig, path)


def attention_plot(path: Path, steps: Sequence[Attended], tokens: Mapping[str, Sequence[int]]) -> None:
    """Show the predicted image of each step, and below it, for each name in `tokens`, the attention that the tokens
    with these numbers get together. The maps of one name share a colour scale, whose maximum is printed beside them."""
    maps = {name: np.stack([step.maps[list(own)].sum(dim=0).numpy() for step in steps]) for name, own in tokens.items()}
    side, size = steps[0].image.shape[-1], 1.15
    with figure(size * len(steps) + 0.9, size * (1 + len(tokens)) + 0.3) as fig:
        rows = fig.subplots(1 + len(tokens), len(steps), squeeze=False)
        for step, axes in zip(steps, rows[0], strict=True):
            axes.imshow(to_uint8(step.image[None])[0], interpolation="nearest")
            axes.set_title(f"t = {step.t}")
        for (name, row), line in zip(maps.items(), rows[1:], strict=True):
            for step, weights, axes in zip(steps, row, line, strict=True):
                axes.imshow(to_uint8(step.image[None])[0].mean(axis=-1), cmap="gray", vmin=0, vmax=255)
                axes.imshow(
                    weights,
                    cmap="inferno",
                    alpha=0.65,
                    vmin=0,
                    vmax=row.max(),
                    extent=(0, side, side, 0),
                    interpolation="bilinear",
                )
            line[0].set_ylabel(f"{name}\n(max {row.max():.2f})", rotation=0, ha="right", va="center")
        for axes in rows.flat:
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
        save(fig, path)
