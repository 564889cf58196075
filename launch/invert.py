"""scripts/invert.py: a picture to its noise, and from the noise to the picture again and to others."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ldm.errors import UserError
from ldm.files import relative, write_json
from ldm.images import save_png, to_tensor, to_uint8
from ldm.latent_diffusion import LatentDiffusion
from ldm.modules.autoencoder import psnr
from textual_inversion.embedding_manager import EmbeddingManager
from textual_inversion.evaluation.metrics import brightness_correlation
from textual_inversion.evaluation.subjects import Pipeline
from textual_inversion.figures.sheets import PictureRow, save_sheet
from textual_inversion.generation import manager_of
from textual_inversion.noise_file import FILE_NAME, Noise
from textual_inversion.picture_file import read_square
from textual_inversion.prompts import check_prompts
from textual_inversion.words.file import LearnedWord

from .given import as_list, given_words
from .model import load_frozen
from .ownership import owning

log = logging.getLogger("invert")


def require_one_start(config: DictConfig) -> None:
    """Raise UserError unless the config gives either a picture or the noise of one."""
    if config.noise is None:
        return
    for setting in ("image", "source"):
        if not OmegaConf.is_missing(config, setting) and config[setting] is not None:
            raise UserError(f"noise and {setting} are both given: the file of the noise stands for both, so give one.")


def embeddings_of(ldm: LatentDiffusion, words: Sequence[LearnedWord], texts: Sequence[str]) -> EmbeddingManager:
    """Return the words for the prompts `texts`, any of which may do without them: a picture of S* may become a dog.
    Raises UserError for a word that none of them mentions, and as `check_prompts` does."""
    embeddings = manager_of(ldm, words)
    said = {placeholder for text in texts for placeholder in embeddings.mentions(text)}
    for placeholder in embeddings.placeholders:
        if placeholder not in said:
            raise UserError(f"neither source nor prompt mentions {placeholder!r}: write it there, or leave out word.")
    for text in texts:
        mentioned = embeddings.mentions(text)
        check_prompts([text], manager_of(ldm, [word for word in words if word.placeholder in mentioned]))
    return embeddings


def remake(pipeline: Pipeline, noise: Noise, prompts: Sequence[str], embeddings: EmbeddingManager) -> np.ndarray:
    """Generate the picture of the noise again, then what it is under each of the prompts, with the guidance of the
    pipeline: uint8 [1 + len(prompts), H, W, 3]."""
    z_T = noise.z_T[None].to(pipeline.ldm.device)
    again = replace(pipeline, guidance=1.0).from_noise([noise.source], z_T, embeddings)
    others = [pipeline.from_noise([prompt], z_T, embeddings) for prompt in prompts]
    return np.concatenate([to_uint8(picture) for picture in (again, *others)])


def fidelity_of(image: np.ndarray, again: np.ndarray, ldm: LatentDiffusion) -> dict[str, float]:
    """Return the PSNR in dB of the picture `again`, and of what the autoencoder alone makes of `image`; both uint8 [H,
    W, 3]."""
    x = to_tensor(image[None])
    decoded = ldm.decode_first_stage(ldm.encode_first_stage(x.to(ldm.device)).mean).cpu()
    return {"psnr": float(psnr(to_tensor(again[None]), x)), "psnr_of_autoencoder": float(psnr(decoded, x))}


def save_pictures(
    folder: Path, image: np.ndarray | None, again: np.ndarray, others: Sequence[np.ndarray], numbers: dict[str, Any]
) -> None:
    """Write the pictures uint8 [H, W, 3], a sheet of them with the picture `image` if there is one, and the numbers."""
    prompts = [one["prompt"] for one in numbers["prompts"]]
    if image is not None:
        save_png(folder / "image.png", image)
    save_png(folder / "again.png", again)
    for number, picture in enumerate(others):
        save_png(folder / f"{number:02d}.png", picture)
    shown = [*([] if image is None else [image]), again, *others]
    captions = ["the picture"] * (image is not None) + ["made again", *(f'"{prompt}"' for prompt in prompts)]
    title = f'"{numbers["source"]}"' if numbers["source"] else ""
    save_sheet(folder / "sheet.png", [PictureRow(title, np.stack(shown), captions)])
    write_json(folder / "inversion.json", numbers)


@owning("invert", FILE_NAME, "inversion.json", "[0-9]*.png", "again.png", "image.png", "sheet.png")
def invert(config: DictConfig) -> None:
    """Invert the picture of the config, or load the noise of an earlier inversion; write the noise, the pictures made
    from it and their numbers to the run folder."""
    require_one_start(config)
    prompts, words, folder = as_list(config.prompt), given_words(config.word), Path(config.paths.run)
    image = None if config.noise is not None else np.asarray(read_square(Path(config.image), config.image_size))
    noise = None if config.noise is None else Noise.load(Path(config.noise))
    ldm, sampler = load_frozen(config), instantiate(config.sampler)
    for word in words:
        word.require_fit(ldm.text_encoder.width, ldm.fingerprint, word.file or word.placeholder)
    source = noise.source if noise is not None else config.source or ldm.text_encoder.unconditional
    embeddings = embeddings_of(ldm, words, [source, *prompts])
    pipeline = Pipeline(ldm, sampler, config.guidance)
    if noise is None:
        z_T = pipeline.invert(image[None], source, embeddings)[0]  # pyright: ignore[reportOptionalSubscript]
        noise = Noise.of(z_T, source, sampler, ldm)
        noise.save(folder / FILE_NAME)
    else:
        noise.require_fit(ldm, sampler, Path(str(config.noise)))
    again, *others = remake(pipeline, noise, prompts, embeddings)
    kept = [brightness_correlation(*to_tensor(np.stack([picture, again]))) for picture in others]
    numbers: dict[str, Any] = {"source": source, "steps": noise.steps, "guidance": config.guidance}
    if image is not None:
        numbers |= fidelity_of(image, again, ldm)
        made = "made again in %d steps: PSNR %.1f dB; the autoencoder alone gives %.1f dB"
        log.info(made, noise.steps, numbers["psnr"], numbers["psnr_of_autoencoder"])
    for prompt, share in zip(prompts, kept, strict=True):
        log.info('"%s": its brightness correlates with the picture by %.2f', prompt, share)
    pairs = zip(prompts, kept, strict=True)
    numbers["prompts"] = [{"prompt": prompt, "brightness_correlation": share} for prompt, share in pairs]
    save_pictures(folder, image, again, others, numbers)
    log.info("the pictures, sheet.png and inversion.json are in %s", relative(folder))
