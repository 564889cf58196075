"""scripts/edit.py: generate a part of an image anew from a prompt, with learned words or without."""

import logging
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from torch import Tensor

from ldm.errors import UserError
from ldm.files import relative
from ldm.images import save_png, to_uint8
from textual_inversion.blended import edit as blend
from textual_inversion.captions import SLOT
from textual_inversion.evaluation.subjects import Pipeline, without_word
from textual_inversion.figures.sheets import PictureRow, save_sheet
from textual_inversion.generation import manager_of
from textual_inversion.masks import box_mask, read_mask
from textual_inversion.picture_file import read_square
from textual_inversion.prompts import check_prompts
from textual_inversion.weighting import parse, plain
from textual_inversion.words.file import load_words

from .generate import as_list
from .model import load_frozen

log = logging.getLogger("edit")


def order_by_similarity(config: DictConfig, images: Tensor, prompt: str, placeholders: Sequence[str]) -> list[int]:
    """Return the numbers of the images [n, 3, H, W] in falling order of CLIP's similarity with the prompt, without the
    learned words, which CLIP does not know."""
    template = reduce(lambda text, placeholder: text.replace(placeholder, SLOT), placeholders, prompt)
    text = plain(parse(without_word(template)))
    evaluator = instantiate(config.domain.evaluator, _convert_="all").eval().requires_grad_(False)
    similarity = evaluator.embed_images(images) @ evaluator.embed_texts([text])[0]
    return similarity.argsort(descending=True).tolist()


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
    paths = as_list(config.word)
    ldm = load_frozen(config)
    words = [word for path in paths for word in load_words(Path(path), ldm.text_encoder.width, ldm.fingerprint)]
    embeddings = manager_of(ldm, words)
    check_prompts([prompt], embeddings)
    pipeline = Pipeline(ldm, instantiate(config.sampler), config.guidance, config.seed)
    edits = blend(pipeline, [prompt] * count, embeddings, image, mask, instantiate(config.background))
    order = list(range(count))
    if config.best is not None:
        order = order_by_similarity(config, edits, prompt, embeddings.placeholders)[:best]
    pictures = to_uint8(edits[order])
    for number, picture in zip(order, pictures, strict=True):
        save_png(folder / f"{number:02d}.png", picture)
    save_png(folder / "image.png", image)
    marked = np.where(mask[..., None], image // 2 + 127, image).astype(np.uint8)
    save_sheet(folder / "sheet.png", [PictureRow(f'"{prompt}"', np.stack([image, marked, *pictures]))])
    log.info("%d edits, image.png and sheet.png are in %s", len(pictures), relative(folder))
