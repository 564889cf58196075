"""scripts/tune.py: pivotal tuning, whose result is a difference file."""

import logging
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from ldm.errors import UserError
from ldm.files import relative
from ldm.images import to_uint8
from ldm.weights.difference import FILE_NAME, Difference
from textual_inversion.captions import fill
from textual_inversion.evaluation.pivotal import concept_of, tune, vectors_of
from textual_inversion.evaluation.subjects import Pipeline
from textual_inversion.figures.sheets import PictureRow, save_sheet
from textual_inversion.generation import manager_of
from textual_inversion.words.file import LearnedWord, provenance

from .evaluate import folder_of_word
from .given import as_list
from .model import load_frozen
from .ownership import owning
from .shell import script

log = logging.getLogger("tune")

MEGABYTE = 1_000_000


@owning("tune", FILE_NAME, "sheet.png")
def tune_around(config: DictConfig) -> None:
    """Tune the model around the word of the config; write the difference, and a sheet of images before and after, to
    the run folder."""
    folder, word = Path(config.paths.run), LearnedWord.load(config.word)
    images = config.images or folder_of_word(word)
    if images is None:
        raise UserError("which pictures was the word learned from? Give images=<folder>.")
    concept = concept_of(word, Path(images), config.templates, config.learning_rate, config.seed, config.first)
    titles = [fill(prompt, word.placeholder) for prompt in as_list(config.prompt)]
    ldm = load_frozen(config, torch.float32)
    word.require_fit(ldm.text_encoder.width, ldm.fingerprint, config.word)
    log.info("tuning %s around %s in %d steps, on the images in %s", ldm.name, word.placeholder, config.steps, images)
    tuned = tune(ldm, concept, vectors_of(word), config.image_size, config.steps)
    origin = provenance(concept, steps=config.steps, model=ldm.name, fingerprint=ldm.fingerprint)
    difference = Difference.between(ldm, tuned, origin | {"placeholder": word.placeholder})
    size = difference.save(folder / FILE_NAME)
    total = len(ldm.state_dict())
    log.info("%s: %.1f MB, %d of the model's %d tensors", FILE_NAME, size / MEGABYTE, len(difference.changes), total)

    pipeline = Pipeline(ldm, instantiate(config.sampler), config.guidance, config.seed)
    embeddings, rows = manager_of(ldm, [word]), []
    for when in ("before", "after"):
        if when == "after":
            difference.add_to(ldm, folder / FILE_NAME)
        images_of = to_uint8(pipeline(titles, range(config.count), embeddings)).reshape(
            len(titles), config.count, config.image_size, config.image_size, 3
        )
        rows += [PictureRow(f'{when}: "{title}"', some) for title, some in zip(titles, images_of, strict=True)]
    save_sheet(folder / "sheet.png", rows)
    log.info("%s and sheet.png are in %s", FILE_NAME, relative(folder))
    use = script("generate", f"word={config.word}", f"difference={relative(folder)}", f"prompt={titles[0]}")
    log.info("use it: %s", use)
