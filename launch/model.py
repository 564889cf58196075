"""The frozen models of a command that uses words."""

from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from ldm.errors import UserError
from ldm.latent_diffusion import LatentDiffusion
from ldm.weights.difference import Difference


def load_frozen(config: DictConfig, dtype: torch.dtype | None = None) -> LatentDiffusion:
    """Load `config.module.ldm`, with the difference in the file `config.difference` if there is one, frozen, on the GPU
    if there is one. `dtype` defaults to `config.module.frozen_dtype`."""
    file = config.get("difference")
    difference = None if file is None else Difference.load(file)
    torch.manual_seed(0)  # for models without a file of weights, such as debug=tiny
    ldm = instantiate(config.module.ldm, _convert_="all")
    if difference is not None:
        difference.add_to(ldm, str(file))  # before `freeze`, which may round the weights
    ldm.freeze(dtype or instantiate(config.module.frozen_dtype))
    return ldm.to("cuda" if torch.cuda.is_available() else "cpu")


def load_evaluator(config: DictConfig) -> Any:
    """Load the CLIP that finds the best pictures for best=. Raises UserError if the scale has none, or if it is
    missing."""
    if config.get("domain") is None or config.domain.get("evaluator") is None:
        raise UserError(f"best= needs a CLIP, and scale={config.name} has none: add configs/domain/{config.name}.yaml.")
    return instantiate(config.domain.evaluator, _convert_="all").eval().requires_grad_(False)
