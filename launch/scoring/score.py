"""scripts/score.py: compute all scores of the model card."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from ldm.files import write_json
from ldm.images import psnr, to_tensor, to_uint8
from ldm.latent_diffusion import LatentDiffusion
from textual_inversion.evaluation.classifier import AttributeClassifier
from textual_inversion.figures.sheets import PictureRow, save_sheet
from textual_inversion.generation import generate_images
from textual_inversion.pictures import load_pictures
from toyland.attributes import WITH_FACE

from .. import concepts
from .pictures import faces_kept, faces_seen, frechet, reconstruct, with_reconstructions
from .prompts import (
    Prompt,
    face_share,
    family_share,
    faults,
    held_out_prompts,
    obedience,
    obedience_of_photos,
    prompts_of_looks,
    prompts_of_two,
    true_prompts,
)
from .toys import distinguish_toys, inversion, own_names

log = logging.getLogger("score")

COLUMNS = 8
SHOWN = 96  # maximal number of images on the sheet; failures come first


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


@dataclass(frozen=True)
class Scorer:
    """Measures what images show. `looks` classifies skin and hair of doctors: `classifier` was trained on doctors who
    mostly look alike."""

    ldm: LatentDiffusion
    classifier: AttributeClassifier
    looks: AttributeClassifier
    options: Mapping[str, Any]  # of generate_images

    def score_known(self, truth: Sequence[Prompt], images: Tensor) -> dict[str, Any]:
        """Return how often the classifier is right about images whose labels are known."""
        seen = self.classifier.names(images)
        return {
            **obedience(truth, seen),
            "family": family_share(truth, seen),
            "photos": obedience_of_photos(truth, seen),
        }

    def score_prompts(self, prompts: Sequence[Prompt], sheet: Path) -> dict[str, Any]:
        """Generate an image of each prompt, and save them to `sheet`. Return how often they show what was asked for."""
        images = generate_images(self.ldm, [prompt.text for prompt in prompts], **self.options)
        seen = self.classifier.names(images) | self.looks.names(images)
        wrong = faults(prompts, seen)
        save_sheet(sheet, sheet_rows(images, prompts, wrong))
        found: dict[str, Any] = obedience(prompts, seen) | {"everything": float(np.mean([not one for one in wrong]))}
        if "style" in prompts[0].labels:
            found["photos"] = obedience_of_photos(prompts, seen)
            found |= {"family": family_share(prompts, seen), "face": face_share(prompts, seen, tuple(WITH_FACE))}
        return found


def concept_images(folder: Path) -> Tensor:
    """Return the images of all shipped toys [n, 3, 128, 128]."""
    toys = [name for name, concept in concepts.CONCEPTS.items() if concept.home]
    return to_tensor(np.concatenate([load_pictures(folder / name, 128).images for name in toys]))


@torch.no_grad()
def score(config: DictConfig) -> None:
    """Compute all scores of the model card; write them and the images to the run folder."""
    folder = Path(config.paths.run)
    ldm = instantiate(config.ldm, _convert_="all").freeze()
    clip = instantiate(config.evaluator, _convert_="all").eval()
    classifier = instantiate(config.classifier, _convert_="all").eval()
    looks = instantiate(config.look_classifier, _convert_="all").eval()
    scenes = instantiate(config.pictures.val)
    options = {"sampler": instantiate(config.sampler), "guidance": config.guidance, "seed": config.seed}
    scorer = Scorer(ldm, classifier, looks, options)

    renders, own = to_tensor(scenes.images), concept_images(Path(config.paths.assets) / "concepts")
    decoded = reconstruct(ldm.first_stage_model, renders)
    truth = true_prompts(scenes, classifier.labels)
    on_renders, on_reconstructions = scorer.score_known(truth, renders), scorer.score_known(truth, decoded)
    faces, doctors = instantiate(config.faces), instantiate(config.doctors)
    scores: dict[str, Any] = {
        "autoencoder_psnr": float(psnr(decoded, renders).mean()),
        "autoencoder_psnr_of_concepts": float(psnr(reconstruct(ldm.first_stage_model, own), own).mean()),
        "classifier_on_renders": on_renders,
        "classifier_on_reconstructions": on_reconstructions,
        "faces_kept": faces_kept(on_renders, on_reconstructions, [one.labels for one in truth]),
        "faces_seen": {
            name: faces_seen(classifier, images, [faces.labels(i) for i in range(len(faces))])
            for name, images in with_reconstructions(ldm.first_stage_model, faces.images).items()
        },
        "looks_known": {
            name: obedience(true_prompts(doctors, looks.labels), looks.names(images))
            for name, images in with_reconstructions(ldm.first_stage_model, doctors.images).items()
        },
    }
    lists = {
        "prompts": held_out_prompts(config.held_out, config.seed),
        "two": prompts_of_two(config.two, config.seed),
        "looks": prompts_of_looks(config.looks),
    }
    for name, asked in lists.items():
        prompts = [prompt for prompt in asked for _ in range(config.pictures_each)]
        scores[name] = scorer.score_prompts(prompts, folder / f"{name}.png")
    captions = [scenes.caption(i, 0) for i in range(config.frechet)]
    scores["frechet"] = frechet(generate_images(ldm, captions, **options), renders, decoded, clip, classifier)
    scores["toys_told_apart_by_clip"] = distinguish_toys(clip)
    if config.inversion.concepts:
        with torch.enable_grad():
            scores["inversion"] = inversion(config)
            scores["own_names"] = own_names(config)
    write_json(folder / "scores.json", scores)
    log.info("%s", json.dumps(scores, indent=2))
    log.info("%s holds scores.json and a sheet for each kind of prompt", folder)
