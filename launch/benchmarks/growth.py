"""How the time of an inversion grows: with pictures (not at all), batch, vectors, concepts of a pack, and steps."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ldm.images import save_png
from ldm.latent_diffusion import LatentDiffusion
from textual_inversion.concept import Concept
from textual_inversion.learner import TextualInversion
from textual_inversion.pictures import load_pictures

from .inversion import pack_of, train
from .timing import compare_times, device


def copies(pictures: Path, side: int, folder: Path, count: int) -> Path:
    """`folder` with as many files as asked for, of the same few pictures."""
    images = load_pictures(pictures, side).images
    for i in range(count):
        save_png(folder / f"{i:02d}.png", images[i % len(images)])
    return folder


def growth(
    folder: Path,
    ldm: LatentDiffusion,
    concept: Concept,
    image_size: int,
    sizes: Mapping[str, Sequence[int]],
    rounds: int,
    steps: int,
) -> dict[str, dict[str, float]]:
    """Milliseconds of a step where one of pictures, batch, vectors and concepts is as in `sizes` and the others are 5,
    4, 1 and 1; seconds of a whole training of as many `steps` as there."""
    ldm = ldm.to(device())

    def learner(what: str, count: int) -> TextualInversion:
        match what:
            case "pictures":
                images = copies(Path(concept.images), image_size, folder / str(count), count)
                return pack_of(ldm, replace(concept, images=str(images)), 1, image_size, 4)
            case "batch":
                return pack_of(ldm, concept, 1, image_size, count)
            case "vectors":
                return pack_of(ldm, replace(concept, num_vectors=count), 1, image_size, 4)
            case _:
                return pack_of(ldm, concept, count, image_size, 4)

    results: dict[str, dict[str, float]] = {}
    for what in ("pictures", "batch", "vectors", "concepts"):
        modules = {str(count): learner(what, count) for count in sizes[what]}
        calls = {name: lambda module=module: train(module, steps) for name, module in modules.items()}
        times = compare_times(calls, rounds)
        results[f"ms of a step, by {what}"] = {name: 1000.0 * seconds for name, seconds in times.items()}
    results["seconds of a training, by steps"] = {}
    for count in sizes["steps"]:
        start = time.perf_counter()
        train(pack_of(ldm, concept, 1, image_size, 4), count)
        results["seconds of a training, by steps"][str(count)] = time.perf_counter() - start
    return results
