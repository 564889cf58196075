"""How well do the weights obey? Paints held-out prompts and lets the small CLIP name what it sees.

python scripts/score.py
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import hydra
import numpy as np
import torch
from command import command
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from ldm.autoencoder import AutoencoderKL, psnr
from ldm.callbacks import to_uint8
from ldm.data import CaptionedImages, to_tensor, val_batches
from textual_inversion.contact_sheet import Row, save_sheet
from textual_inversion.generation import generate
from textual_inversion.zero_shot import Embedder, Question, zero_shot
from toyland.attributes import BACKGROUNDS, STYLES
from toyland.dataset import RenderedScenes
from toyland.sampling import sample_scene

log = logging.getLogger("score")

Labels = dict[str, list[str]]  # question -> one label per picture
COLUMNS = 8


@dataclass(frozen=True)
class Prompt:
    """A sentence and what a picture of it must show: question -> label."""

    text: str
    labels: dict[str, str]


def held_out_prompts(count: int, seed: int) -> list[Prompt]:
    """Sentences that name style, colour, class and background; training has seen no such class, colour and background
    together."""
    prompts = []
    for i in range(count):
        scene = sample_scene(np.random.default_rng([seed, i]), named=0.0, held_out=True)
        kind, color = scene.toy.kind, scene.toy.color.name
        article = "an" if color[0] in "aeiou" else "a"
        text = f"{STYLES[scene.style.name]} {article} {color} {kind} {BACKGROUNDS[scene.background]}"
        prompts.append(Prompt(text, {"class": kind, "background": scene.background, "style": scene.style.name}))
    return prompts


def seen_in(images: Tensor, clip: Embedder, questions: Mapping[str, Question]) -> Labels:
    """What the evaluator answers about pictures [n, 3, H, W] in [-1, 1]."""
    chosen = {name: zero_shot(clip, images, q.words, q.forms).tolist() for name, q in questions.items()}
    return {name: [list(q.names)[i] for i in chosen[name]] for name, q in questions.items()}


def accuracy(seen: Labels, truth: Labels) -> dict[str, float]:
    return {name: float(np.mean(np.array(seen[name]) == np.array(truth[name]))) for name in seen}


def accuracy_on_renders(scenes: RenderedScenes, count: int, clip: Embedder, questions: Mapping[str, Question]) -> dict:
    """The evaluator's own accuracies on `count` pictures whose truth is known: of all, and of the photos among them."""
    seen = seen_in(to_tensor(scenes.images[:count]), clip, questions)
    known = [scenes.labels(i) for i in range(count)]
    truth = {name: [labels[name] for labels in known] for name in questions}
    photos = [i for i, labels in enumerate(known) if labels["style"] == "photo"]
    of_photos = accuracy(*({name: [v[i] for i in photos] for name, v in side.items()} for side in (seen, truth)))
    return accuracy(seen, truth) | {f"{name}_photo": value for name, value in of_photos.items()}


def mean_psnr(autoencoder: AutoencoderKL, scenes: CaptionedImages, count: int) -> float:
    """PSNR in dB of the reconstructions from the posterior means, mean over `count` pictures."""
    images = (batch["image"] for batch in val_batches(scenes, count))
    return float(torch.cat([psnr(autoencoder.decode(autoencoder.encode(x).mean), x) for x in images]).mean())


def sheet_rows(images: Tensor, prompts: list[Prompt], wrong: list[str]) -> list[Row]:
    """All pictures over their prompts, and what was seen instead; those that failed come first."""
    pictures = to_uint8(images)
    order = sorted(range(len(prompts)), key=lambda i: not wrong[i])
    rows = []
    for start in range(0, len(order), COLUMNS):
        some = order[start : start + COLUMNS]
        captions = [prompts[i].text + (f" (seen: {wrong[i]})" if wrong[i] else "") for i in some]
        rows.append(Row("", pictures[some], captions))
    return rows


@hydra.main(version_base="1.3", config_path="../configs", config_name="score")
@command
@torch.no_grad()
def main(config: DictConfig) -> None:
    folder = Path(config.paths.run)
    ldm = instantiate(config.ldm, _convert_="all").frozen()
    clip = instantiate(config.clip, _convert_="all").eval()
    questions = instantiate(config.questions, _convert_="all")
    scenes = instantiate(config.pictures.val)
    sampler = instantiate(config.sampler)
    prompts = held_out_prompts(config.prompts, config.seed)

    images = generate(ldm, [p.text for p in prompts], seed=config.seed, sampler=sampler, guidance=config.guidance)
    seen = seen_in(images, clip, questions)
    truth = {name: [prompt.labels[name] for prompt in prompts] for name in questions}
    wrong = [", ".join(seen[q][i] for q in questions if seen[q][i] != truth[q][i]) for i in range(len(prompts))]
    scores = {
        "prompts": accuracy(seen, truth),
        "clip_on_renders": accuracy_on_renders(scenes, config.renders, clip, questions),
        "autoencoder_psnr": mean_psnr(ldm.first_stage_model, scenes, config.renders),
        "failed": [{"prompt": p.text, "seen": w} for p, w in zip(prompts, wrong, strict=True) if w],
    }
    (folder / "scores.json").write_text(json.dumps(scores, indent=2))
    save_sheet(folder / "sheet.png", sheet_rows(images, prompts, wrong))
    for what in ("prompts", "clip_on_renders", "autoencoder_psnr"):
        log.info("%s: %s", what, scores[what])
    log.info("%s holds scores.json and sheet.png (%d of %d failed)", folder, len(scores["failed"]), len(prompts))


if __name__ == "__main__":
    main()
