"""The frozen model of a command that uses words."""

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from ldm.latent_diffusion import LatentDiffusion


def load_frozen(config: DictConfig) -> LatentDiffusion:
    """Load `config.module.ldm` in `config.module.frozen_dtype`, frozen, on the GPU if there is one."""
    torch.manual_seed(0)  # for models without a file of weights, such as debug=tiny
    ldm = instantiate(config.module.ldm, _convert_="all").freeze(instantiate(config.module.frozen_dtype))
    return ldm.to("cuda" if torch.cuda.is_available() else "cpu")
