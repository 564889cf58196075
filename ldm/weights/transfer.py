"""Start the UNet of a new model with the weights of a trained one, such as a text-to-image model's for a model that is
conditioned on classes."""

import logging
from pathlib import Path

from torch import nn

from ..errors import UserError
from .checkpoint import by_prefix, part_for, read_weights

log = logging.getLogger(__name__)

INPUT = "input_blocks.0.0.weight"


def transfer_unet(unet: nn.Module, weights: str | Path) -> nn.Module:
    """Copy the UNet in `weights`, a path for `read_weights`, to `unet` where names and shapes agree; returns `unet`.

    An input convolution with more channels than in the file gets zeros for the others, so a map that is concatenated to
    the latents has no influence at first. All other tensors keep their values, and the log counts them. Raises
    UserError if the file holds no UNet, or one without a single tensor of the same name and shape."""
    own = unet.state_dict()
    loaded = part_for(own, read_weights(weights))
    if INPUT in own and INPUT in loaded and own[INPUT].shape[1] > loaded[INPUT].shape[1]:
        wide = loaded[INPUT].new_zeros(own[INPUT].shape)
        wide[:, : loaded[INPUT].shape[1]] = loaded[INPUT]
        loaded[INPUT] = wide
    fitting = {
        name: value.to(own[name].dtype)
        for name, value in loaded.items()
        if name in own and own[name].shape == value.shape
    }
    if not fitting:
        raise UserError(
            f"{weights} holds no tensor that fits this UNet: expected names such as model.diffusion_model.{INPUT}."
        )
    unet.load_state_dict(fitting, strict=False, assign=True)  # also into a UNet on the meta device
    left = own.keys() - fitting.keys()
    if left:
        log.info("%s: %d of %d tensors of the UNet are new (%s)", weights, len(left), len(own), by_prefix(left))
    return unet
