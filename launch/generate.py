"""What scripts/generate.py does: paints prompts with learned words."""

import logging
import os
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig

from ldm.images import save_png, to_uint8
from ldm.weights.fingerprint import weights_hash
from textual_inversion.figures.sheets import PictureRow, save_sheet
from textual_inversion.generation import generate, manager_of, require_placeholders
from textual_inversion.words.file import load_words

log = logging.getLogger("generate")


def as_list(value: str | ListConfig) -> list[str]:
    """One value or several, as the command line gives them."""
    return [value] if isinstance(value, str) else list(value)


def paint(config: DictConfig) -> None:
    """The command: paints every prompt of the config and leaves the pictures and a sheet in the run folder."""
    paths, prompts = as_list(config.word), as_list(config.prompt)
    ldm = instantiate(config.module.ldm, _convert_="all")
    width, fingerprint = ldm.cond_stage_model.width, weights_hash(ldm.cond_stage_model)
    ldm = ldm.freeze(instantiate(config.module.frozen_dtype)).to("cuda" if torch.cuda.is_available() else "cpu")
    words = [word for path in paths for word in load_words(Path(path), width, fingerprint)]
    embeddings = manager_of(ldm, words)
    require_placeholders(prompts, embeddings)
    repeated = [prompt for prompt in prompts for _ in range(config.count)]
    options = {"sampler": instantiate(config.sampler), "guidance": config.guidance, "seed": config.seed}
    images = to_uint8(generate(ldm, repeated, embeddings, **options))
    folder = Path(config.paths.run)
    rows = []
    for i, prompt in enumerate(prompts):
        pictures = images[i * config.count : (i + 1) * config.count]
        for j, picture in enumerate(pictures):
            save_png(folder / f"{i:02d}-{j:02d}.png", picture)
        rows.append(PictureRow(f'"{prompt}"', pictures))
    save_sheet(folder / "sheet.png", rows)
    log.info("%d pictures and sheet.png are in %s", len(images), os.path.relpath(folder))
