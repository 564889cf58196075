"""Scores of words for toys: how well shipped concepts, and toys that have a name, are learned, and how well CLIP tells
toys apart."""

from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from ldm.errors import UserError
from ldm.files import write_json, write_whole
from ldm.images import to_tensor
from textual_inversion.evaluation.evaluation import summary
from textual_inversion.evaluation.evaluator import Evaluator
from toyland.names import TOYS
from toyland.render import render
from toyland.truth import truth

from .. import concepts
from ..reproduction.cells import Cell, CellStore, quote

PHOTOS = 12  # photos of a toy, and photos of other toys of its class, that CLIP has to tell apart
STRANGERS = (901, 902)  # seeds of the other toys


def distinguish_toys(clip: Evaluator) -> dict[str, float]:
    """Measure whether CLIP distinguishes a toy from others of its class. Averages over the shipped toys: how often two
    photos of the toy are more similar than a photo of it and one of another toy, and both mean cosine similarities."""
    found = []
    for concept in concepts.CONCEPTS.values():
        if "color" not in concept.labels:
            continue
        own = concept.scenes(PHOTOS)
        kind, share = own[0].toy.kind, PHOTOS // len(STRANGERS)
        strange = [scene for seed in STRANGERS for scene in concepts.toy_scenes(kind, seed, share)]
        a, b = (clip.embed_images(to_tensor(np.stack([render(s).image for s in some]))) for some in (own, strange))
        same, other = (a @ a.T)[torch.triu_indices(PHOTOS, PHOTOS, 1).unbind()], (a @ b.T).flatten()
        found.append([(same[:, None] > other).float().mean(), same.mean(), other.mean()])
    share_right, same, other = np.mean(found, axis=0).tolist()
    return {"share": share_right, "cosine_of_one_toy": same, "cosine_of_two": other}


def open_store(config: DictConfig) -> CellStore:
    """Return the store in which words are learned and evaluated for the scores."""
    given = (list(config.inversion.learn), list(config.inversion.evaluate))
    return CellStore(
        Path(config.inversion.cells), *given, Path(config.paths.assets) / "concepts", config.inversion.pack
    )


def inversion(config: DictConfig) -> dict[str, float]:
    """Return the mean metrics over the shipped concepts; "share" is the image similarity as a fraction of the
    similarity of the training images to each other. Raises UserError if no concept could be learned."""
    results = open_store(config).results([Cell(concept, config.seed) for concept in config.inversion.concepts])
    if not results:
        raise UserError("none of the concepts could be learned: see above.")
    numbers = [summary(r) | {"share": r["image_similarity"] / r["image_only"]} for r in results.values()]
    return {name: float(np.mean([n[name] for n in numbers])) for name in numbers[0]}


def own_names(config: DictConfig) -> dict[str, float]:
    """Learn toys that have a name in the vocabulary as if they had none. Returns the mean image similarities of S* and
    of the name, and their mean ratio, which shows whether one vector can represent a toy; and how often images of each
    show the very toy, if the evaluation tells. That is a little easier than for the concepts, because the toys of the
    line-up keep a distance from named ones."""
    names = [str(name) for name in np.random.default_rng(config.seed).permutation(list(TOYS))[: config.inversion.named]]
    cells = {name: _own_name_cells(config, name) for name in names}
    found = open_store(config).results([cell for pair in cells.values() for cell in pair])
    pairs = [[found[cell] for cell in pair] for pair in cells.values() if set(pair) <= set(found)]
    if not pairs:
        raise UserError("none of the named toys could be learned: see above.")
    likeness = np.array([[one["image_similarity"] for one in pair] for pair in pairs])
    learned, spoken = likeness.mean(axis=0).tolist()
    scores = {"S*": learned, "name": spoken, "ratio": float((likeness[:, 0] / likeness[:, 1]).mean())}
    if all("reidentified" in one for pair in pairs for one in pair):
        learned, spoken = np.mean([[one["reidentified"] for one in pair] for pair in pairs], axis=0).tolist()
        scores |= {"reidentified_S*": learned, "reidentified_name": spoken}
    return scores


def _own_name_cells(config: DictConfig, name: str) -> tuple[Cell, Cell]:
    """Write the images of a toy that has a `name`. Returns the cells of S*, learned from them, and of the name."""
    folder, toy = Path(config.paths.cache) / "named" / name, TOYS[name]
    scenes = concepts.toy_photos(toy, 0, concepts.SHIPPED)
    concepts.save_pictures(scenes, folder)
    write_whole(folder / "short.txt", f"{name}\n".encode())
    shown = truth(scenes[0])
    write_json(folder / concepts.TRUTH, {"labels": {label: shown[label] for label in ("class", "color", "pattern")}})
    learn = (f"concept.images={quote(folder)}", f"concept.initializer={toy.kind}")
    pictures = f"images={quote(folder)}"
    spoken = Cell("cat_toy", config.seed, None, ("subject=short_captions", pictures))
    return Cell("cat_toy", config.seed, learn, (pictures,)), spoken
