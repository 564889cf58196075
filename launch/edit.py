"""scripts/edit.py: generate a part of an image anew from a prompt, with learned words or without."""

import logging
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig

from ldm.errors import UserError
from ldm.files import relative
from ldm.images import save_png, to_uint8
from textual_inversion.blended import edit as blend
from textual_inversion.evaluation.ranking import prompt_similarity
from textual_inversion.evaluation.subjects import Pipeline
from textual_inversion.figures.sheets import PictureRow, save_sheet
from textual_inversion.generation import manager_of
from textual_inversion.masks import box_mask, mark, read_mask
from textual_inversion.picture_file import read_square
from textual_inversion.prompts import check_prompts

from .given import given_words
from .model import load_evaluator, load_frozen
from .ownership import owning

log = logging.getLogger("edit")


@owning("edit", "[0-9]*.png", "image.png", "sheet.png")
def edit(config: DictConfig) -> None:
    """Edit the image of the config `count` times; write the results and a sheet to the run folder."""
    prompt, folder, count = config.prompt, Path(config.paths.run), config.count
    best = count if config.best is None else config.best
    if not 1 <= best <= count:
        raise UserError(f"best={best}: choose 1 to {count}, the count of the pictures that are generated.")
    image = np.asarray(read_square(Path(config.image), config.image_size))
    if isinstance(config.mask, ListConfig):
        mask = box_mask(config.mask, config.image_size)
    else:
        mask = read_mask(Path(config.mask), Path(config.image), config.image_size)
    words = given_words(config.word)
    clip = None if config.best is None else load_evaluator(config)
    ldm = load_frozen(config)
    for word in words:
        word.require_fit(ldm.text_encoder.width, ldm.fingerprint, word.file or word.placeholder)
    embeddings = manager_of(ldm, words)
    check_prompts([prompt], embeddings)
    pipeline = Pipeline(ldm, instantiate(config.sampler), config.guidance, config.seed)
    edits = blend(pipeline, [prompt] * count, embeddings, image, mask, instantiate(config.background))
    order = list(range(count))
    if clip is not None:
        scores = prompt_similarity(clip, edits, prompt, embeddings.placeholders)
        order = scores.argsort(descending=True).tolist()[:best]
    pictures = to_uint8(edits[order])
    for number, picture in zip(order, pictures, strict=True):
        save_png(folder / f"{number:02d}.png", picture)
    save_png(folder / "image.png", image)
    save_sheet(folder / "sheet.png", [PictureRow(f'"{prompt}"', np.stack([image, mark(image, mask), *pictures]))])
    log.info("%d edits, image.png and sheet.png are in %s", len(pictures), relative(folder))
