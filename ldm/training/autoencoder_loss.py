"""The training objective of the autoencoder (Rombach et al. 2022, section 3.1 and appendix G)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..modules.autoencoder import DiagonalGaussian


def image_gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences between horizontal and between vertical neighbours of x [b, c, h, w]."""
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


class PerceptualDistance(nn.Module):
    """Distance between images in the features of a frozen network (Zhang et al. 2018, without learned weights). Written
    by hand, since the lpips package downloads a network for photographs.

    `maps(network, x)` returns the feature maps of x. They are normalised to unit length at each position; the distance
    is their squared difference, averaged over positions and over maps."""

    def __init__(self, network: nn.Module, maps: Callable[[nn.Module, Tensor], Sequence[Tensor]]) -> None:
        super().__init__()
        self.network, self.maps = network.eval().requires_grad_(False), maps

    def train(self, mode: bool = True) -> "PerceptualDistance":
        return super().train(False)

    def forward(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Return the distance between x and x_hat, both [b, 3, h, w] in [-1, 1], as a scalar."""
        seen = zip(self.maps(self.network, x), self.maps(self.network, x_hat), strict=True)
        distances = [(F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(dim=1).mean() for a, b in seen]
        return torch.stack(distances).mean()


class PatchDiscriminator(nn.Module):
    """Classifies patches as real or reconstructed (Isola et al. 2017): x [b, 3, h, w] in [-1, 1] -> logits
    [b, 1, h / 2**levels, w / 2**levels], positive for real images."""

    def __init__(self, channels: int = 32, levels: int = 3) -> None:
        super().__init__()
        widths = [channels * 2**i for i in range(levels)]
        layers: list[nn.Module] = []
        for i, o in zip([3, *widths], widths, strict=False):
            norm = nn.GroupNorm(8, o) if layers else nn.Identity()
            layers += [nn.Conv2d(i, o, 4, stride=2, padding=1), norm, nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def loss(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Return the hinge loss of the discriminator. No gradient reaches x_hat."""
        return 0.5 * (F.relu(1.0 - self(x)) + F.relu(1.0 + self(x_hat.detach()))).mean()

    def doubt(self, x_hat: Tensor) -> Tensor:
        """Return the adversarial loss of the reconstruction. No gradient reaches the discriminator's parameters."""
        fixed = {name: value.detach() for name, value in self.named_parameters()}
        return -functional_call(self, fixed, (x_hat,)).mean()


class AutoencoderLoss(nn.Module):
    """L1 loss on pixels and on image gradients (which keeps edges sharp), plus a weak KL term towards N(0, 1).
    Optionally adds a `perceptual` distance and a patch `discriminator`, which is trained together with the autoencoder.

    `kl_weight` multiplies the mean KL per latent element in nats; the other terms are means over pixels in [-1, 1]."""

    def __init__(
        self,
        kl_weight: float,
        gradient_weight: float,
        perceptual: PerceptualDistance | None = None,
        perceptual_weight: float = 0.0,
        discriminator: PatchDiscriminator | None = None,
        adversarial_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.kl_weight, self.gradient_weight = kl_weight, gradient_weight
        self.perceptual, self.perceptual_weight = perceptual, perceptual_weight
        self.discriminator, self.adversarial_weight = discriminator, adversarial_weight

    def forward(
        self, x: Tensor, x_hat: Tensor, posterior: DiagonalGaussian, weight: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return named scalars for images x and reconstructions x_hat [b, 3, h, w] in [-1, 1]; "loss" is the weighted
        sum of the others. `weight` [b, 1, h, w] weights the pixels of the L1 terms; None weights them equally."""
        weight = x.new_ones(()).expand(len(x), 1, *x.shape[2:]) if weight is None else weight
        l1 = (weight * (x - x_hat).abs()).mean()
        dx, dy = image_gradients(x - x_hat)
        edges = (weight[..., 1:] * dx.abs()).mean() + (weight[..., 1:, :] * dy.abs()).mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = l1 + self.gradient_weight * edges + self.kl_weight * kl
        terms = {"l1": l1, "edges": edges, "kl": kl}
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(x, x_hat)
            loss = loss + self.perceptual_weight * terms["perceptual"]
        if self.discriminator is not None:
            terms |= {
                "adversarial": self.discriminator.doubt(x_hat),
                "discriminator": self.discriminator.loss(x, x_hat),
            }
            # One optimiser is enough: the gradient of each term reaches only the parameters that the term trains.
            loss = loss + self.adversarial_weight * terms["adversarial"] + terms["discriminator"]
        return {"loss": loss, **terms}
