"""Training objective of the autoencoder (Rombach et al. 2022, section 3.1 and appendix G)."""

from torch import Tensor, nn

from .autoencoder import DiagonalGaussian


def image_gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences between horizontal and between vertical neighbours of [b, c, h, w]."""
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


class AutoencoderLoss(nn.Module):
    """L1 of pixels and of image gradients (edges stay sharp), plus a light pull of the posterior to N(0, 1).

    `kl_weight` multiplies the mean KL of one latent number in nats, the other terms are means over pixels in [-1, 1].
    """

    def __init__(self, kl_weight: float, gradient_weight: float) -> None:
        super().__init__()
        self.kl_weight = kl_weight
        self.gradient_weight = gradient_weight

    def forward(self, x: Tensor, x_hat: Tensor, posterior: DiagonalGaussian) -> dict[str, Tensor]:
        """Pictures and reconstructions [b, 3, h, w] in [-1, 1] -> named scalars; "loss" is their weighted sum."""
        l1 = (x - x_hat).abs().mean()
        (dx, dy), (dx_hat, dy_hat) = image_gradients(x), image_gradients(x_hat)
        edges = (dx - dx_hat).abs().mean() + (dy - dy_hat).abs().mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = l1 + self.gradient_weight * edges + self.kl_weight * kl
        return {"loss": loss, "l1": l1, "edges": edges, "kl": kl}
