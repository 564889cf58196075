"""scripts/generate.py: generate images of prompts, with learned words or without."""

import logging
import os
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig

from ldm.images import save_png, to_uint8
from textual_inversion import api
from textual_inversion.figures.sheets import PictureRow, save_sheet
from textual_inversion.words.file import find_file, load_words

log = logging.getLogger("generate")


def as_list(value: str | ListConfig | None) -> list[str]:
    """Return one value, several or none, as given on the command line, as a list."""
    return [value] if isinstance(value, str) else list(value or [])


def generate(config: DictConfig) -> None:
    """Generate images of every prompt in the config; write them and a sheet to the run folder."""
    paths, prompts = as_list(config.word), as_list(config.prompt)
    for path in paths:
        find_file(Path(path))  # a file that is missing is found before the model is built
    torch.manual_seed(0)  # for models without a file of weights, such as debug=tiny
    ldm = instantiate(config.module.ldm, _convert_="all")
    ldm = ldm.freeze(instantiate(config.module.frozen_dtype)).to("cuda" if torch.cuda.is_available() else "cpu")
    words = [word for path in paths for word in load_words(Path(path), ldm.text_encoder.width)]
    repeated = [prompt for prompt in prompts for _ in range(config.count)]
    settings = {
        "sampler": instantiate(config.sampler),
        "guidance": config.guidance,
        "seed": config.seed,
        "strict": config.strict,
    }
    images = to_uint8(api.generate(ldm, repeated, words, **settings, as_tensor=True))
    folder = Path(config.paths.run)
    rows = []
    for i, prompt in enumerate(prompts):
        pictures = images[i * config.count : (i + 1) * config.count]
        for j, picture in enumerate(pictures):
            save_png(folder / f"{i:02d}-{j:02d}.png", picture)
        rows.append(PictureRow(f'"{prompt}"', pictures))
    save_sheet(folder / "sheet.png", rows)
    log.info("%d pictures and sheet.png are in %s", len(images), os.path.relpath(folder))
