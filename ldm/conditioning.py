"""What a latent diffusion model can be told (Rombach et al. 2022, section 3.3): a text, a class or a mask, and the two
ways in which that reaches the UNet.

An encoder of conditions has the `condition_key` of its values in a batch, the `unconditional` value, which guidance
needs, and turns a list of values into c; the text encoders are such, too."""

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Unet = Callable[..., Tensor]


def cross_attention(unet: Unet, z_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
    """eps(z_t, t, c): every place looks at the sequence c [b, m, d]."""
    return unet(z_t, t, c)


def concatenation(unet: Unet, z_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
    """eps((z_t, c), t): the map c [b, k, h, w] is k more channels of the noisy latents."""
    return unet(torch.cat([z_t, c.to(z_t.dtype)], dim=1), t)


class ClassEncoder(L.LightningModule):
    """Class names -> c [b, 1, width], one learned vector each, as the published ImageNet model has them; its last row
    stands for no class."""

    condition_key, unconditional = "class", ""

    def __init__(self, names: Sequence[str], width: int) -> None:
        super().__init__()
        self.names, self.width = tuple(names), width
        self.embedding = nn.Embedding(len(self.names) + 1, width)

    def forward(self, values: Sequence[str]) -> Tensor:
        rows = {name: row for row, name in enumerate((*self.names, self.unconditional))}
        unknown = [value for value in values if value not in rows]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no class of this model; it knows {', '.join(self.names)}.")
        return self.embedding(torch.tensor([rows[value] for value in values], device=self.device))[:, None]


class MaskEncoder(L.LightningModule):
    """Segmentation masks, boolean [H, W] arrays -> c [b, 1, size, size]: 1 inside, -1 outside, in between at the edge,
    and 0 everywhere for None. It has nothing to learn."""

    condition_key, unconditional = "mask", None

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, values: Sequence[Any]) -> Tensor:
        return torch.stack([self._map(value) for value in values])

    def _map(self, value: Any) -> Tensor:
        if value is None:
            return torch.zeros(1, self.size, self.size, device=self.device)
        inside = torch.as_tensor(value, device=self.device).float()[None, None]
        return 2.0 * F.adaptive_avg_pool2d(inside, self.size)[0] - 1.0
