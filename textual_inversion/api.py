"""The Python API: load a model, learn a word from images, generate images with the word. Omitted settings default to
those of the model's scale (see `scales`)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, overload

import pytorch_lightning as L
import torch
from PIL import Image
from torch import Tensor

from ldm.errors import UserError, require_whole
from ldm.images import to_uint8
from ldm.latent_diffusion import LatentDiffusion
from ldm.sampling import Sampler
from ldm.training.progress import StepProgress
from ldm.training.quiet import quiet
from ldm.weights.checkpoint import load_as_stored
from ldm.weights.difference import Difference
from ldm.weights.fingerprint import known_weights_hash

from .concept import Concept
from .generation import generate_images, manager_of
from .learner import TextualInversion
from .prompts import check_prompts
from .recipe import IN_INFO, Recipe, SamplerRecord, UsedWord, read_recipe, save_picture
from .scales import find_scale, scale_of
from .setups import PAPER, Setup
from .templates import TOYLAND
from .words.file import LearnedWord, provenance

__all__ = ["LearnedWord", "generate", "learn", "load_model", "read_recipe", "save_picture"]

log = logging.getLogger(__name__)

OnStep = Callable[[int, Tensor, Tensor], None]  # (steps done, loss of the step, v* [k, width] or [k, layers, width])
Words = Sequence[LearnedWord] | Mapping[str, LearnedWord]


def load_model(
    model: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    difference: str | Path | None = None,
) -> LatentDiffusion:
    """Load a frozen model for `learn` and `generate`.

    `model` is a name ("toyland", which ships with the project, or "ldm_1p4b" and "stable_diffusion_v1", which
    scripts/fetch.py downloads), a checkpoint, a folder of weights, or the folder of a diffusers pipeline. `device`
    defaults to CUDA if available, else to the CPU. `dtype` is that of the UNet and the text encoder, and defaults to
    the scale's. `difference` is a file of scripts/tune.py. Raises UserError for an unknown name, with the known names,
    and for weights or a difference that do not fit."""
    scale, weights = find_scale(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for models without a file of weights
        ldm = load_as_stored(partial(scale.build, scale.vocabulary), weights)
    if difference is not None:
        Difference.load(difference).add_to(ldm, difference)  # before `freeze`, which may round the weights
    return ldm.freeze(dtype or scale.dtype).to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def learn(
    ldm: LatentDiffusion,
    images: str | Path,
    *,
    initializer: str,
    placeholder: str = "S*",
    steps: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    templates: Sequence[str] = TOYLAND,
    num_vectors: int = 1,
    setup: Setup = PAPER,
    first: int | None = None,
    flip: bool = True,
    seed: int = 0,
    start: str | Path | None = None,
    on_step: OnStep | None = None,
    progress: bool = True,
) -> LearnedWord:
    """Learn a word for the concept in the images of the folder `images` (Gal et al. 2022, eq. 2).

    `initializer` is a word of the model's vocabulary that describes the concept coarsely ("cat"); `placeholder` is the
    new word. `steps`, `batch_size` and `learning_rate` (the rate of the optimiser) default to the scale's. `templates`
    default to the commands' neutral sentences about an object; `textual_inversion.templates` has the paper's sentences,
    and others for styles. `num_vectors`, `setup`, `first`, `flip`, `seed` and `start` are as in `Concept`. `on_step` is
    called after every step; `progress` shows a progress bar. The result is a function of the settings and the seed, bit
    for bit. Raises UserError for invalid settings: a folder without images, an unknown initializer, no steps."""
    scale = scale_of(ldm)
    steps = scale.steps if steps is None else steps
    concept = Concept(
        placeholder,
        initializer,
        str(images),
        templates=tuple(templates),
        learning_rate=scale.learning_rate if learning_rate is None else learning_rate,
        num_vectors=num_vectors,
        flip=flip,
        seed=seed,
        first=first,
        setup=setup,
        start=None if start is None else str(start),
    )
    device = ldm.device
    inversion = TextualInversion(
        ldm,
        [concept],
        scale.image_size,
        batch_size=scale.batch_size if batch_size is None else batch_size,
        frozen_dtype=cast(torch.dtype, ldm.unet.dtype),
        steps=steps,
    )
    callbacks: list[L.Callback] = [StepProgress()] if progress else []
    callbacks += [_AfterStep(on_step, concept)] if on_step is not None else []
    try:
        with quiet():
            trainer = L.Trainer(
                accelerator="gpu" if device.type == "cuda" else "cpu",
                devices=[device.index or 0] if device.type == "cuda" else 1,
                max_steps=steps,
                limit_val_batches=0,
                num_sanity_val_steps=0,
                callbacks=callbacks,
                enable_progress_bar=progress,
                logger=False,
                enable_checkpointing=False,
                enable_model_summary=False,
            )
            trainer.fit(inversion)
        origin = provenance(concept, steps=steps, model=ldm.name, fingerprint=ldm.fingerprint)
        origin["nearest_words"] = inversion.nearest_words(placeholder)
        return inversion.word(concept, steps, origin)
    finally:
        ldm.to(device)  # the trainer moves it to the CPU


class _AfterStep(L.Callback):
    """Calls `on_step` after every step."""

    def __init__(self, on_step: OnStep, concept: Concept) -> None:
        self.on_step, self.concept = on_step, concept

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: TextualInversion, *_: Any) -> None:
        v_star = pl_module.learned(self.concept, trainer.global_step).detach().clone()
        self.on_step(trainer.global_step, trainer.callback_metrics["train/loss"], v_star)


@overload
def generate(
    ldm: LatentDiffusion,
    prompts: str | Sequence[str],
    words: Words = (),
    *,
    negative_prompt: str = "",
    seed: int = 0,
    index: int = 0,
    guidance: float | None = None,
    sampler: Sampler | None = None,
    steps: int | None = None,
    batch_size: int = 8,
    fill: bool = False,
    progress: bool = True,
    as_tensor: Literal[False] = False,
    strict: bool = False,
) -> list[Image.Image]: ...


@overload
def generate(
    ldm: LatentDiffusion,
    prompts: str | Sequence[str],
    words: Words = (),
    *,
    negative_prompt: str = "",
    seed: int = 0,
    index: int = 0,
    guidance: float | None = None,
    sampler: Sampler | None = None,
    steps: int | None = None,
    batch_size: int = 8,
    fill: bool = False,
    progress: bool = True,
    as_tensor: Literal[True],
    strict: bool = False,
) -> Tensor: ...


def generate(
    ldm: LatentDiffusion,
    prompts: str | Sequence[str],
    words: Words = (),
    *,
    negative_prompt: str = "",
    seed: int = 0,
    index: int = 0,
    guidance: float | None = None,
    sampler: Sampler | None = None,
    steps: int | None = None,
    batch_size: int = 8,
    fill: bool = False,
    progress: bool = True,
    as_tensor: bool = False,
    strict: bool = False,
) -> list[Image.Image] | Tensor:
    """Generate one image per prompt: a list of PIL images, which `save_picture` writes with their recipes, or
    [n, 3, H, W] in [-1, 1] on the CPU if `as_tensor` is True.

    Image i depends only on its prompt, (`seed`, `index` + i) and the settings, not on `batch_size`; `fill` is as in
    `generate_images`. `words` may map names of one's choice to words: {"<a>": cat, "<b>": owl}. Without `words`, the
    model is used as it is. Guidance leads away from `negative_prompt`. `guidance` and `sampler` default to the scale's;
    `steps` overrides the number of steps of the sampler. In a prompt, "(text:1.3)" gives a part another weight (see
    `weighting`). What the model does not know is logged, or refused if `strict` is True (see `check_prompts`). Raises
    UserError if there is no prompt, if a prompt mentions none of the words, or if a word was learned for a model of
    another width."""
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not prompts:
        raise UserError("there is no prompt: pass at least one.")
    require_whole("index", index, 0)
    scale = scale_of(ldm)
    sampler = sampler or scale.sampler
    sampler = sampler if steps is None else replace(sampler, steps=steps)
    guidance = scale.guidance if guidance is None else guidance
    if isinstance(words, Mapping):
        words = [word.named(name) for name, word in words.items()]
    for word in words:
        word.require_fit(ldm.text_encoder.width, ldm.fingerprint, source=word.file or "generate")
    embeddings = manager_of(ldm, words)
    check_prompts(prompts, embeddings, strict, negative_prompt)
    if negative_prompt and guidance == 1.0:
        log.warning("guidance=1 is none, so the negative prompt %r has no effect", negative_prompt)
    pictures = generate_images(
        ldm,
        prompts,
        embeddings,
        sampler=sampler,
        guidance=guidance,
        seed=seed,
        indices=range(index, index + len(prompts)),
        batch_size=batch_size,
        progress=progress,
        negative_prompt=negative_prompt,
        fill=fill,
    )
    if as_tensor:
        return pictures
    images = [Image.fromarray(picture) for picture in to_uint8(pictures)]
    for i, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
        said = {*embeddings.mentions(prompt), *embeddings.mentions(negative_prompt)}
        image.info[IN_INFO] = Recipe(
            prompt=prompt,
            negative_prompt=negative_prompt,
            seed=int(seed),
            index=int(index) + i,
            batch=batch_size if fill else min(batch_size, len(prompts) - i // batch_size * batch_size),
            guidance=float(guidance),
            sampler=SamplerRecord.of(sampler),
            image_size=image.width,
            model=scale.name,
            weights=known_weights_hash(ldm),
            precision=str(ldm.unet.dtype).removeprefix("torch."),
            words={
                word.placeholder: UsedWord(str(word.file) if word.file else None, word.digest)
                for word in words
                if word.placeholder in said
            },
        )
    return images
