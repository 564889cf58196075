"""Scales: the models in which words are learned, each with its default settings. They are defined here only; the files
of configs/scale read them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import torch

from ldm import PROJECT, models
from ldm.errors import UserError
from ldm.latent_diffusion import LatentDiffusion
from ldm.precision import fast_precisions
from ldm.sampling import Sampler
from ldm.weights.checkpoint import read_weights
from ldm.weights.diffusers_layout import is_diffusers_folder, read_part
from ldm.weights.family import MODELS, describe_family, family

MODELS_FOLDER = PROJECT / "models"  # where scripts/fetch.py puts published weights
TOYLAND_FOLDER = PROJECT / "assets" / "toyland"


@dataclass(frozen=True)
class Scale:
    """A model of `ldm.models` with the same `name`, and its default settings. `build` builds it from its `vocabulary`;
    `weights` is their file or folder (None: random weights).

    `image_size` is the side of its images; `guidance` and `sampler` are for sampling. A word is learned in `steps`
    steps of `batch_size` samples with `learning_rate`, the rate of the optimiser. The frozen model computes in
    `dtype`."""

    name: str
    build: Callable[[Path], LatentDiffusion]
    vocabulary: Path
    weights: Path | None
    image_size: int
    guidance: float
    learning_rate: float
    batch_size: int
    steps: int
    dtype: torch.dtype
    sampler: Sampler = Sampler(50)  # noqa: RUF009 - frozen


def frozen_dtype(on_gpu: torch.dtype) -> torch.dtype:
    """Return the precision of a frozen model: `on_gpu` if there is a GPU, else the fastest that the CPU computes in."""
    return on_gpu if torch.cuda.is_available() else fast_precisions()[-1]


TOYLAND = Scale(
    name="toyland",
    build=models.toyland,
    vocabulary=TOYLAND_FOLDER / "vocab.txt",
    weights=TOYLAND_FOLDER / "ldm",
    image_size=128,
    guidance=4.0,
    learning_rate=3.0e-2,  # at 1e-2, one of four toys was not itself after 600 steps
    batch_size=4,
    steps=600,
    dtype=frozen_dtype(on_gpu=torch.float32),
)
LDM_1P4B = Scale(
    name="ldm_1p4b",
    build=models.ldm_1p4b,
    vocabulary=MODELS_FOLDER / "bert-base-uncased" / "vocab.txt",
    weights=MODELS_FOLDER / "ldm_1p4b" / "model.safetensors",
    image_size=256,
    guidance=5.0,
    learning_rate=0.04,  # the paper's base rate 5e-3 x the 8 samples of a step
    batch_size=8,  # the paper uses 4 on each of two GPUs: trainer=ddp trainer.devices=2 module.batch_size=4
    steps=5000,
    dtype=frozen_dtype(on_gpu=torch.bfloat16),
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
TINY = replace(  # for tests
    TOYLAND, name="tiny", build=models.tiny, weights=None, image_size=16, steps=6, dtype=torch.float32
)
OFFERED = {scale.name: scale for scale in (TOYLAND, LDM_1P4B, STABLE_DIFFUSION_V1)}  # what messages list
SCALES = OFFERED | {TINY.name: TINY}


def scale_of(ldm: LatentDiffusion) -> Scale:
    """Return the scale of a model. Raises UserError if the model has none."""
    if ldm.name not in SCALES:
        raise UserError(f"the model {ldm.name!r} has no scale: it should be one of {', '.join(OFFERED)}.")
    return SCALES[ldm.name]


def find_scale(model: str | Path) -> tuple[Scale, Path | None]:
    """Return a scale and the path of its weights. `model` is the name of a scale, or the path of a checkpoint, a folder
    of weights or the folder of a diffusers pipeline. Raises UserError with the known names if it is neither."""
    if str(model) in SCALES:
        scale = SCALES[str(model)]
        if scale.weights is not None and not scale.weights.exists():
            raise UserError(
                f"no weights at {scale.weights}: `python scripts/fetch.py model={scale.name}` downloads them; "
                "you can also pass the path of a file or folder instead of the name."
            )
        return scale, scale.weights
    path = Path(model)
    if not path.exists():
        near = get_close_matches(str(model), OFFERED, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UserError(
            f"{str(model)!r} is neither a known model nor a file: the models are {', '.join(OFFERED)}.{hint}"
        )
    weights = read_part(path / "unet") if is_diffusers_folder(path) else read_weights(path)
    name = MODELS.get(family(weights) or "")
    if name is None:
        raise UserError(f"{path}: {describe_family(weights)}")
    return SCALES[name], path
