"""The frozen model of a command that uses words."""

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

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
