"""scripts/generate.py: generate images of prompts, with learned words or without."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from ldm.errors import UserError
from ldm.files import relative
from ldm.images import to_tensor
from ldm.latent_diffusion import LatentDiffusion
from ldm.sampling import Sampler
from textual_inversion import api
from textual_inversion.evaluation.ranking import prompt_similarity
from textual_inversion.figures.page import PageRow, save_page
from textual_inversion.figures.sheets import PictureRow, save_sheet
from textual_inversion.recipe import IN_INFO, Recipe, read_recipe, save_picture
from textual_inversion.words.file import LearnedWord

from .given import given_prompts, given_words
from .model import load_evaluator, load_frozen
from .ownership import owning
from .recipes import Changes, warn_of_another_model, with_model_of, words_again

log = logging.getLogger("generate")

BATCH = 8  # pictures that are computed together


@dataclass(frozen=True)
class Order:
    """The pictures that are wanted: `count` of each prompt, numbered from `index` on. `fill` is as in
    `api.generate`."""

    prompts: Sequence[str]
    words: Sequence[LearnedWord]
    negative_prompt: str
    count: int
    seed: int
    index: int
    guidance: float
    sampler: Sampler
    batch_size: int = BATCH
    fill: bool = False


def order_of(config: DictConfig) -> Order:
    """Return what the settings ask for."""
    return Order(
        prompts=given_prompts(config),
        words=given_words(config.word),
        negative_prompt=config.negative_prompt,
        count=config.count,
        seed=config.seed,
        index=config.index,
        guidance=config.guidance,
        sampler=instantiate(config.sampler),
    )


def order_again(config: DictConfig, recipe: Recipe, path: Path) -> Order:
    """Return the order of the one picture at `path`, except for what the command line sets anew."""
    changes = Changes.of_command_line()
    words = given_words(config.word) if "word" in changes else []
    if "word" not in changes or words:  # word=[] leaves all words out
        words = [*words, *words_again(recipe, path, [word.placeholder for word in words])]
    if "sampler" in changes:
        sampler = instantiate(config.sampler)
    else:
        sampler = recipe.sampler.build()
        sampler = replace(sampler, steps=config.sampler.steps) if "sampler.steps" in changes else sampler
    own = {"negative_prompt": recipe.negative_prompt, "seed": recipe.seed, "index": recipe.index}
    own |= {"guidance": recipe.guidance, "count": 1}
    chosen: dict[str, Any] = {name: config[name] if name in changes else value for name, value in own.items()}
    prompts = given_prompts(config) if {"prompt", "prompt_file"} & changes.names else [recipe.prompt]
    return Order(prompts, words, sampler=sampler, batch_size=recipe.batch, fill=True, **chosen)


def rank(pictures: Sequence[Image.Image], clip: Any, prompt: str, names: Sequence[str]) -> dict[int, float]:
    """Return the numbers of the pictures of a prompt, the best first, and the score of each."""
    scores = prompt_similarity(clip, to_tensor(np.stack([np.asarray(one) for one in pictures])), prompt, names)
    return {number: float(scores[number]) for number in scores.argsort(descending=True, stable=True).tolist()}


def draw(order: Order, ldm: LatentDiffusion, strict: bool) -> list[Image.Image]:
    """Generate the pictures of the first prompt, then those of the next."""
    return api.generate(
        ldm,
        [prompt for prompt in order.prompts for _ in range(order.count)],
        order.words,
        negative_prompt=order.negative_prompt,
        sampler=order.sampler,
        guidance=order.guidance,
        seed=order.seed,
        index=order.index,
        batch_size=order.batch_size,
        fill=order.fill,
        strict=strict,
    )


def write(folder: Path, order: Order, pictures: Sequence[Image.Image], clip: Any, best: int | None) -> int:
    """Write the pictures, or the `best` of each prompt, a sheet and a page. Returns how many pictures there are."""
    rows, page = [], []
    for i, prompt in enumerate(order.prompts):
        some = pictures[i * order.count : (i + 1) * order.count]
        scores = {} if clip is None else rank(some, clip, prompt, [word.placeholder for word in order.words])
        kept = {folder / f"{i:02d}-{j:02d}.png": some[j] for j in [*(scores or range(order.count))][:best]}
        for path, picture in kept.items():
            save_picture(path, picture)
        marks = [f"similarity {score:.3f}" for score in scores.values()][:best]
        rows.append(PictureRow(f'"{prompt}"', np.stack([np.asarray(picture) for picture in kept.values()]), marks))
        page.append(_page_row(order, prompt, kept, marks))
    save_sheet(folder / "sheet.png", rows)
    save_page(folder / "sheet.html", "Pictures and their prompts", page)
    return sum(len(row.pictures) for row in page)


def _page_row(order: Order, prompt: str, pictures: dict[Path, Image.Image], marks: Sequence[str]) -> PageRow:
    recipes = [picture.info[IN_INFO] for picture in pictures.values()]
    captions = [f"{path.name}: seed {one.seed}, index {one.index}" for path, one in zip(pictures, recipes, strict=True)]
    if marks:
        captions = [f"{caption}, {mark}" for caption, mark in zip(captions, marks, strict=True)]
    negative = {"Negative prompt": order.negative_prompt} if order.negative_prompt else {}
    return PageRow({"Prompt": prompt} | negative, list(pictures), captions)


@owning("generate", "[0-9]*-[0-9]*.png", "sheet.png", "sheet.html")
def generate(config: DictConfig) -> None:
    """Generate images of every prompt; write them, a sheet and a page to the run folder."""
    path = None if config["from"] is None else Path(config["from"])
    recipe = None if path is None else read_recipe(path)
    if path is None or recipe is None:
        order = order_of(config)
    else:
        config = with_model_of(recipe, config)
        order = order_again(config, recipe, path)
    if config.best is not None and config.best > order.count:
        raise UserError(f"best={config.best}: choose 1 to {order.count}, the count of the pictures of each prompt.")
    clip = None if config.best is None else load_evaluator(config)
    pictures = draw(order, load_frozen(config), config.strict)
    if path is not None and recipe is not None:
        warn_of_another_model(recipe, pictures[0].info[IN_INFO], path)
    folder = Path(config.paths.run)
    count = write(folder, order, pictures, clip, config.best)
    log.info(
        "%d pictures and sheet.png are in %s; sheet.html holds them with their prompts to copy", count, relative(folder)
    )
