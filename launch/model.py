"""The frozen models of a command that uses words."""

from functools import partial
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from ldm.errors import UserError
from ldm.latent_diffusion import LatentDiffusion
from ldm.weights.checkpoint import load_as_stored, load_weights
from ldm.weights.difference import Difference

LOAD = f"{load_weights.__module__}.{load_weights.__name__}"


def build_model(node: DictConfig) -> LatentDiffusion:
    """Build the model of `module.ldm`, to be frozen. Its weights keep the precision of their file until then."""
    if node.get("_target_") != LOAD:
        return instantiate(node, _convert_="all")
    return load_as_stored(partial(instantiate, node.module, _convert_="all"), node.weights)


def build_module(node: DictConfig, ldm: LatentDiffusion | None = None) -> Any:
    """Build what the config `module` trains. `ldm` is its frozen model, if it has one and that is already built."""
    if "ldm" not in node:
        return instantiate(node, _convert_="all")
    build = instantiate(node, ldm=None, _partial_=True, _convert_="all")
    ldm = ldm or build_model(node.ldm)
    try:
        return build(ldm=ldm)
    except TypeError as error:  # a setting that the module does not have: as Hydra says it
        raise InstantiationException(str(error)) from error


def load_frozen(config: DictConfig, dtype: torch.dtype | None = None) -> LatentDiffusion:
    """Load `config.module.ldm`, with the difference in the file `config.difference` if there is one, frozen, on the GPU
    if there is one. `dtype` defaults to `config.module.frozen_dtype`."""
    file = config.get("difference")
    difference = None if file is None else Difference.load(file)
    torch.manual_seed(0)  # for models without a file of weights, such as debug=tiny
    ldm = build_model(config.module.ldm)
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
