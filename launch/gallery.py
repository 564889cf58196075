"""scripts/gallery.py: make the pictures of README's gallery with the model of the config."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch import Tensor

from ldm.files import relative, replacing
from ldm.images import to_uint8
from ldm.latent_diffusion import LatentDiffusion
from textual_inversion import generate, learn
from textual_inversion.blended import edit
from textual_inversion.evaluation.subjects import Pipeline
from textual_inversion.figures.sheets import PictureRow, save_sheet
from textual_inversion.generation import manager_of
from textual_inversion.masks import box_mask, mark
from textual_inversion.words.file import LearnedWord

from .model import load_frozen
from .ownership import owning

log = logging.getLogger("gallery")

QUALITY = 85  # of the animation's WebP
MILLISECONDS = 250  # of a frame of the animation


@dataclass
class Film:
    """Records an image of `prompt` every `every` steps of a learning, always from the same noise."""

    ldm: LatentDiffusion
    placeholder: str
    prompt: str
    every: int
    frames: list[Image.Image] = field(default_factory=list)

    def __call__(self, step: int, loss: Tensor, v_star: Tensor) -> None:
        if step == 1 or step % self.every == 0:
            word = LearnedWord(self.placeholder, v_star)
            self.frames += generate(self.ldm, self.prompt, [word], progress=False)

    def save(self, path: Path, side: int) -> None:
        """Write the frames as an animated WebP file that plays for ever; the last one stays for two seconds."""
        frames = [frame.resize((side, side), Image.Resampling.LANCZOS) for frame in self.frames]
        times = [MILLISECONDS] * (len(frames) - 1) + [2000]
        with replacing(path) as partial:
            frames[0].save(
                partial, format="WEBP", save_all=True, append_images=frames[1:], duration=times, loop=0,
                quality=QUALITY, method=6,
            )  # fmt: skip


@owning("gallery", "*.jpg", "*.webp", "*.safetensors")
def make_gallery(config: DictConfig) -> None:
    """Learn the words of the config, and write a picture for each of its rows and edits to the run folder."""
    folder, ldm = Path(config.paths.run), load_frozen(config)
    words = learn_words(config, ldm, folder)
    for name, lines in config.rows.items():
        rows = [row_of(config, ldm, line, [words[key] for key in line.words]) for line in lines]
        save_sheet(folder / f"{name}.jpg", rows)
    for name, line in config.edits.items():
        save_sheet(folder / f"{name}.jpg", [edited(config, ldm, line, [words[key] for key in line.words])])
    log.info("the pictures are in %s", relative(folder))


def learn_words(config: DictConfig, ldm: LatentDiffusion, folder: Path) -> dict[str, LearnedWord]:
    """Learn and save the words of the config, name -> word. The first one's learning is recorded."""
    words: dict[str, LearnedWord] = {}
    for name, node in config.words.items():
        settings: Any = OmegaConf.to_container(node, resolve=True)
        film = Film(ldm, node.placeholder, config.film.prompt, config.film.every) if not words else None
        words[name] = learn(ldm, **settings, steps=config.steps, seed=config.seed, on_step=film)
        words[name].save(folder / f"{name}.safetensors")
        if film:
            film.save(folder / "learning.webp", config.film.side)
    return words


def row_of(config: DictConfig, ldm: LatentDiffusion, line: DictConfig, words: list[LearnedWord]) -> PictureRow:
    """Return several images of `line.prompt`, or one of each of `line.prompts`, which are written below them."""
    several = "prompt" in line
    prompts = [line.prompt] * config.count if several else list(line.prompts)
    images = to_uint8(generate(ldm, prompts, words, seed=config.seed, as_tensor=True))
    return PictureRow(line.prompt, images) if several else PictureRow(line.title, images, prompts)


def edited(config: DictConfig, ldm: LatentDiffusion, line: DictConfig, words: list[LearnedWord]) -> PictureRow:
    """Return an image of `line.scene`, the same with the box marked, and its edits to `line.prompt`."""
    (image,) = to_uint8(generate(ldm, line.scene, seed=line.seed, as_tensor=True))
    mask = box_mask(line.box, len(image))
    pipeline = Pipeline(ldm, instantiate(config.sampler), config.guidance, config.seed)
    edits = to_uint8(edit(pipeline, [line.prompt] * (config.count - 2), manager_of(ldm, words), image, mask))
    return PictureRow(line.title, np.stack([image, mark(image, mask), *edits]))
