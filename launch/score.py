"""scripts/score.py: score the weights of a model. It measures how often images of held-out prompts show what the prompt
asks for, according to the classifier; the Fréchet distance between generated and rendered images; and how well the
shipped concepts are learned."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from ldm.errors import UserError
from ldm.files import write_json
from ldm.images import to_tensor, to_uint8
from ldm.modules.autoencoder import AutoencoderKL, psnr
from textual_inversion.evaluation.classifier import AttributeClassifier
from textual_inversion.evaluation.evaluation import summary
from textual_inversion.evaluation.evaluator import Evaluator
from textual_inversion.evaluation.metrics import frechet_distance
from textual_inversion.figures.sheets import PictureRow, save_sheet
from textual_inversion.generation import generate_images
from toyland.attributes import BACKGROUNDS, COMPANIONS, STYLES
from toyland.captions import with_article
from toyland.dataset import RenderedScenes
from toyland.names import TOYS
from toyland.render import render
from toyland.sampling import sample_scene

from . import concepts
from .reproduction.cells import Cell, CellStore, quote

log = logging.getLogger("score")

COLUMNS = 8
PHOTOS = 12  # photos of a toy, and photos of other toys of its class, that CLIP has to tell apart
STRANGERS = (901, 902)  # seeds of the other toys
UNSAID = ("pattern", "plain")  # prompts do not mention that a toy is plain
SHOWN = 96  # maximal number of images on the sheet; failures come first


@dataclass(frozen=True)
class Prompt:
    """A prompt and the labels that an image of it must show, label -> value."""

    text: str
    labels: Mapping[str, str]


def held_out_prompts(count: int, seed: int) -> list[Prompt]:
    """Return prompts that name style, colours, pattern, class and background, with combinations of class, colour and
    background that the training images do not contain. For a toy without a pattern, the prompt names one colour, and
    the image may show any pattern."""
    prompts = []
    for i in range(count):
        scene = sample_scene(np.random.default_rng([seed, i]), named=0.0, held_out=True)
        toy, style = scene.toy, scene.style.name
        labels = {"class": toy.kind, "background": scene.background, "style": style}
        labels |= {} if style == "pencil" else {"color": toy.color.name}
        look = toy.color.name
        if ("pattern", toy.pattern) != UNSAID:
            labels["pattern"] = toy.pattern
            look += f" and {toy.color2.name} {toy.pattern}"
        text = f"{STYLES[style]} {with_article(f'{look} {toy.kind}')} {BACKGROUNDS[scene.background]}"
        prompts.append(Prompt(text, labels))
    return prompts


def prompts_of_two(count: int, seed: int) -> list[Prompt]:
    """Return prompts with a second figure, such as "a photo of a cat next to a red mug"."""
    prompts = []
    for i in range(count):
        rng = np.random.default_rng([seed, i, 2])
        scene = sample_scene(rng, named=0.0, held_out=True)
        kind = scene.toy.kind
        other = [name for name in COMPANIONS if name != kind][int(rng.integers(len(COMPANIONS) - (kind in COMPANIONS)))]
        text = f"a photo of {with_article(kind)} next to {with_article(f'{scene.toy.color2.name} {other}')}"
        prompts.append(Prompt(text, {"class": kind, "companion": other}))
    return prompts


def faults(prompts: Sequence[Prompt], seen: Mapping[str, list[str]]) -> list[str]:
    """For each image, describe what it shows instead of what its prompt asks for; empty if nothing is wrong."""
    return [
        ", ".join(seen[label][i] or f"no {label}" for label, value in prompt.labels.items() if seen[label][i] != value)
        for i, prompt in enumerate(prompts)
    ]


def obedience(prompts: Sequence[Prompt], seen: Mapping[str, list[str]]) -> dict[str, float]:
    """For each label, return the fraction of images that show the requested value, among the prompts that request
    one."""
    right = [{name: float(seen[name][i] == value) for name, value in p.labels.items()} for i, p in enumerate(prompts)]
    return {str(name): share for name, share in pd.DataFrame(right).mean().items()}  # gaps are skipped


def obedience_of_photos(prompts: Sequence[Prompt], seen: Mapping[str, list[str]]) -> dict[str, float]:
    """Return the `obedience` of photos only: pencil drawings show no colours, and strokes and tiles break up
    patterns."""
    some = [i for i, prompt in enumerate(prompts) if prompt.labels["style"] == "photo"]
    return obedience([prompts[i] for i in some], {label: [values[i] for i in some] for label, values in seen.items()})


def true_prompts(scenes: RenderedScenes, known: Mapping[str, Sequence[str]]) -> list[Prompt]:
    """Return prompts without text whose labels are the ground truth of the scenes. They are limited to values in
    `known`, the values that a classifier knows, and to values that prompts mention (so no plain pattern)."""
    truth = [scenes.labels(i) for i in range(len(scenes))]
    return [Prompt("", {k: v for k, v in one.items() if v in known[k] and (k, v) != UNSAID}) for one in truth]


def reconstruct(autoencoder: AutoencoderKL, images: Tensor) -> Tensor:
    """Decode images [n, 3, H, W] from their posterior means: an upper bound on the quality of generated images."""
    return torch.cat([autoencoder.decode(autoencoder.encode(x).mean).clamp(-1.0, 1.0) for x in images.split(32)])


def frechet(
    generated: Tensor, renders: Tensor, decoded: Tensor, clip: Evaluator, classifier: AttributeClassifier
) -> dict[str, dict[str, float]]:
    """Return Fréchet distances in the features of CLIP and of the classifier.

    "distance" compares the n images `generated` from the captions of the first n scenes, with the `renders` of
    the next n scenes. "floor" compares the first n renders with those of the next n scenes: the lowest distance to
    expect. The ratios divide by the floor: for `generated`, and for the first n images `decoded` by the autoencoder."""
    n = len(generated)
    spaces = {"clip": clip.embed_images, "classifier": classifier.features}
    found = {}
    for name, features in spaces.items():
        others, *some = (
            torch.cat([features(x) for x in pictures.split(64)])
            for pictures in (renders[n : 2 * n], renders[:n], decoded[:n], generated)
        )
        floor, through, distance = (frechet_distance(one, others) for one in some)
        found[name] = {
            "distance": distance,
            "floor": floor,
            "ratio": distance / floor,
            "ratio_of_reconstructions": through / floor,
        }
    return found


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
    of the name, and their mean ratio, which shows whether one vector can represent a toy."""
    names = [str(name) for name in np.random.default_rng(config.seed).permutation(list(TOYS))[: config.inversion.named]]
    cells: dict[str, tuple[Cell, Cell]] = {}
    for name in names:
        folder = Path(config.paths.cache) / "named" / name
        concepts.save_pictures(concepts.toy_photos(TOYS[name], 0, concepts.SHIPPED), folder)
        (folder / "short.txt").write_text(f"{name}\n", encoding="utf-8")
        learn = (f"concept.images={quote(folder)}", f"concept.initializer={TOYS[name].kind}")
        pictures = f"images={quote(folder)}"
        spoken = ("subject=short_captions", pictures)
        cells[name] = (Cell("cat_toy", config.seed, learn, (pictures,)), Cell("cat_toy", config.seed, None, spoken))
    found = open_store(config).results([cell for pair in cells.values() for cell in pair])
    pairs = [[found[cell]["image_similarity"] for cell in pair] for pair in cells.values() if set(pair) <= set(found)]
    if not pairs:
        raise UserError("none of the named toys could be learned: see above.")
    learned, spoken = np.array(pairs).T
    return {"S*": float(learned.mean()), "name": float(spoken.mean()), "ratio": float((learned / spoken).mean())}


def sheet_rows(images: Tensor, prompts: Sequence[Prompt], wrong: Sequence[str]) -> list[PictureRow]:
    """Lay out images above their prompts and what the classifier saw instead; failures come first."""
    pictures = to_uint8(images)
    order = sorted(range(len(prompts)), key=lambda i: not wrong[i])[:SHOWN]
    rows = []
    for start in range(0, len(order), COLUMNS):
        some = order[start : start + COLUMNS]
        captions = [prompts[i].text + (f" (seen: {wrong[i]})" if wrong[i] else "") for i in some]
        rows.append(PictureRow("", pictures[some], captions))
    return rows


@torch.no_grad()
def score(config: DictConfig) -> None:
    """Compute all scores of the model card; write them and the images to the run folder."""
    folder = Path(config.paths.run)
    ldm = instantiate(config.ldm, _convert_="all").freeze()
    clip = instantiate(config.evaluator, _convert_="all").eval()
    classifier = instantiate(config.classifier, _convert_="all").eval()
    scenes = instantiate(config.pictures.val)
    options = {"sampler": instantiate(config.sampler), "guidance": config.guidance, "seed": config.seed}

    renders = to_tensor(scenes.images)
    decoded = reconstruct(ldm.first_stage_model, renders)
    scores: dict[str, Any] = {"autoencoder_psnr": float(psnr(decoded, renders).mean())}
    truth = true_prompts(scenes, classifier.labels)
    for name, images in {"renders": renders, "reconstructions": decoded}.items():
        seen = classifier.names(images)
        scores[f"classifier_on_{name}"] = obedience(truth, seen) | {"photos": obedience_of_photos(truth, seen)}
    lists = {"prompts": held_out_prompts(config.held_out, config.seed), "two": prompts_of_two(config.two, config.seed)}
    for name, asked in lists.items():
        prompts = [prompt for prompt in asked for _ in range(config.pictures_each)]
        images = generate_images(ldm, [prompt.text for prompt in prompts], **options)
        seen = classifier.names(images)
        wrong = faults(prompts, seen)
        scores[name] = obedience(prompts, seen) | {"everything": float(np.mean([not fault for fault in wrong]))}
        if name == "prompts":  # the prompts of "two" all ask for photos
            scores[name]["photos"] = obedience_of_photos(prompts, seen)
        save_sheet(folder / f"{name}.png", sheet_rows(images, prompts, wrong))
    captions = [scenes.caption(i, 0) for i in range(config.frechet)]
    scores["frechet"] = frechet(generate_images(ldm, captions, **options), renders, decoded, clip, classifier)
    scores["toys_told_apart_by_clip"] = distinguish_toys(clip)
    if config.inversion.concepts:
        with torch.enable_grad():
            scores["inversion"] = inversion(config)
            scores["own_names"] = own_names(config)
    write_json(folder / "scores.json", scores)
    log.info("%s", json.dumps(scores, indent=2))
    log.info("%s holds scores.json, prompts.png and two.png", folder)
