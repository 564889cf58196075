"""Scales: the models that words are learned in, and the defaults that belong to each. They stand here once; the files
of configs/scale read them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import torch

from ldm import PROJECT, models
from ldm.latent_diffusion import LatentDiffusion
from ldm.sampling import Sampler
from ldm.weights.checkpoint import read_weights
from ldm.weights.diffusers_layout import is_diffusers_folder, read_part
from ldm.weights.family import MODELS, describe_family, family

from .templates import PAPER
from .templates import TOYLAND as TOYLAND_TEMPLATES

MODELS_FOLDER = PROJECT / "models"  # where scripts/fetch.py puts published weights
TOYLAND_FOLDER = PROJECT / "assets" / "toyland"


@dataclass(frozen=True)
class Scale:
    """A model of `ldm.models` with the same `name`: `build` makes it from its `vocabulary`, `weights` are its file or
    folder (None: random ones).

    `image_size` is the side of its pictures, `guidance` and `sampler` paint them. A word is learned in `steps` steps of
    `batch_size` samples at `learning_rate`, the one that the optimiser sees, with the sentences `templates`. On a GPU
    the frozen model computes in `dtype`."""

    name: str
    build: Callable[[Path], LatentDiffusion]
    vocabulary: Path
    weights: Path | None
    image_size: int
    guidance: float
    learning_rate: float
    batch_size: int
    steps: int
    templates: tuple[str, ...]
    dtype: torch.dtype
    sampler: Sampler = Sampler(50)  # noqa: RUF009 - frozen


TOYLAND = Scale(
    name="toyland",
    build=models.toyland,
    vocabulary=TOYLAND_FOLDER / "vocab.txt",
    weights=TOYLAND_FOLDER / "ldm",
    image_size=128,
    guidance=5.0,
    learning_rate=1.0e-2,  # in 600 steps as much likeness as 2e-2 in 300, and words that stay easier to edit
    batch_size=4,
    steps=600,
    templates=TOYLAND_TEMPLATES,
    dtype=torch.float32,
)
LDM_1P4B = Scale(
    name="ldm_1p4b",
    build=models.ldm_1p4b,
    vocabulary=MODELS_FOLDER / "bert-base-uncased" / "vocab.txt",
    weights=MODELS_FOLDER / "ldm_1p4b" / "model.safetensors",
    image_size=256,
    guidance=5.0,
    learning_rate=0.04,  # the paper's base rate 5e-3 x the 8 samples of a step
    batch_size=8,  # the paper has 4 on each of two GPUs: trainer=ddp trainer.devices=2 module.batch_size=4
    steps=5000,
    templates=PAPER,
    dtype=torch.bfloat16,
)
STABLE_DIFFUSION_V1 = replace(
    LDM_1P4B,
    name="stable_diffusion_v1",
    build=models.stable_diffusion_v1,
    vocabulary=MODELS_FOLDER / "clip-vit-large-patch14",
    weights=MODELS_FOLDER / "stable_diffusion_v1" / "model.safetensors",
    image_size=512,
    guidance=7.5,
    learning_rate=0.01,  # 5e-3 x the 2 samples of a step
    batch_size=2,
)
TINY = replace(TOYLAND, name="tiny", build=models.tiny, weights=None, image_size=16, steps=6)  # for tests
SCALES = {scale.name: scale for scale in (TOYLAND, LDM_1P4B, STABLE_DIFFUSION_V1, TINY)}


def scale_of(ldm: LatentDiffusion) -> Scale:
    """The scale that a model belongs to. Raises ValueError for a model that belongs to none."""
    if ldm.name not in SCALES:
        raise ValueError(f"the model {ldm.name!r} has no scale: it should be one of {', '.join(SCALES)}.")
    return SCALES[ldm.name]


def find_scale(model: str | Path) -> tuple[Scale, Path | None]:
    """The scale that `model` names, and its weights; or the one that a checkpoint, a folder of weights or a pipeline's
    folder of diffusers belongs to, and that path. Raises ValueError with the known names if it is neither."""
    if str(model) in SCALES:
        scale = SCALES[str(model)]
        if scale.weights is not None and not scale.weights.exists():
            raise ValueError(
                f"no weights at {scale.weights}: `python scripts/fetch.py model={scale.name}` downloads them; "
                "a file or folder of yours can be given instead of the name."
            )
        return scale, scale.weights
    path = Path(model)
    if not path.exists():
        near = get_close_matches(str(model), SCALES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{str(model)!r} is no known model and no file: the models are {', '.join(SCALES)}.{hint}")
    weights = read_part(path / "unet") if is_diffusers_folder(path) else read_weights(path)
    name = MODELS.get(family(weights) or "")
    if name is None:
        raise ValueError(f"{path}: {describe_family(weights)}")
    return SCALES[name], path
