"""The first stage with a codebook instead of the KL term (van den Oord et al. 2017; Rombach et al. 2022, section 3.1).
Names and shapes of the parameters are those of the published vq-f4 model."""

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as L
import torch
from einops import rearrange
from torch import Tensor, nn

from ..training.optimization import constant, with_schedule
from .autoencoder import Decoder, DiagonalGaussian, Encoder, psnr


class Codebook(nn.Module):
    """`size` vectors of `dim` numbers; every place of a latent takes the nearest.

    `commitment` is beta of the paper. As in the published code (its default, "legacy") it weighs the term that moves
    the codebook, and not the one that moves the encoder."""

    def __init__(self, size: int, dim: int, commitment: float = 0.25) -> None:
        super().__init__()
        self.commitment = commitment
        self.embedding = nn.Embedding(size, dim)
        nn.init.uniform_(self.embedding.weight, -1.0 / size, 1.0 / size)

    def nearest(self, z: Tensor) -> Tensor:
        """z [b, dim, h, w] -> indices [b, h, w]."""
        flat, table = rearrange(z, "b d h w -> (b h w) d"), self.embedding.weight
        distance = flat.square().sum(1, keepdim=True) + table.square().sum(1) - 2.0 * flat @ table.T
        return distance.argmin(dim=1).view(len(z), *z.shape[2:])

    def entries(self, indices: Tensor) -> Tensor:
        """indices [b, h, w] -> [b, dim, h, w]."""
        return rearrange(self.embedding(indices), "b h w d -> b d h w")

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z [b, dim, h, w] -> its nearest entries, through which the gradient passes as if they were z; and the loss
        that brings both together."""
        z_q = self.entries(self.nearest(z))
        loss = (z_q.detach() - z).square().mean() + self.commitment * (z_q - z.detach()).square().mean()
        return z + (z_q - z).detach(), loss


class VQModel(L.LightningModule):
    """Pictures x [b, 3, H, W] in [-1, 1] <-> latents z [b, embed_dim, H / f, W / f]; f = 2 ** (len(channel_mult) - 1).

    To a diffusion model it is what AutoencoderKL is: `encode` gives latents before the codebook (as a posterior without
    spread), `decode` quantises first. `reconstruction_loss`(x, x_hat) -> scalar, `optimizer` and `schedule` are needed
    for training only."""

    def __init__(
        self,
        channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 4),
        num_res_blocks: int = 2,
        attention_levels: Sequence[int] = (),
        z_channels: int = 3,
        embed_dim: int = 3,
        codebook_size: int = 8192,
        groups: int = 32,
        reconstruction_loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.l1_loss,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        schedule: Callable[[int], float] = constant,
    ) -> None:
        super().__init__()
        body = (channels, channel_mult, num_res_blocks, attention_levels, groups)
        self.encoder = Encoder(3, z_channels, *body)
        self.decoder = Decoder(z_channels, 3, *body)
        self.quant_conv = nn.Conv2d(z_channels, embed_dim, 1)
        self.quantize = Codebook(codebook_size, embed_dim)
        self.post_quant_conv = nn.Conv2d(embed_dim, z_channels, 1)
        self.reconstruction_loss, self.optimizer, self.schedule = reconstruction_loss, optimizer, schedule

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """x [b, 3, H, W] in [-1, 1] -> z before the codebook, certain."""
        z = self.quant_conv(self.encoder(x)).float()
        return DiagonalGaussian(z, torch.full_like(z, -torch.inf))

    def decode(self, z: Tensor) -> Tensor:
        """z [b, embed_dim, h, w], on the codebook or not -> x [b, 3, H, W], about [-1, 1], not clipped."""
        return self.decode_entries(self.quantize(z)[0])

    def decode_entries(self, z_q: Tensor) -> Tensor:
        """`decode` without the codebook."""
        return self.decoder(self.post_quant_conv(z_q))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        x = batch["image"]
        z_q, codebook_loss = self.quantize(self.encode(x).mean)
        reconstruction = self.reconstruction_loss(self.decode_entries(z_q).float(), x)
        losses = {"reconstruction": reconstruction.detach(), "codebook": codebook_loss.detach()}
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, prog_bar=True)
        return reconstruction + codebook_loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """PSNR of the reconstruction."""
        x = batch["image"]
        self.log("val/psnr", psnr(self.decode(self.encode(x).mean), x).mean(), prog_bar=True, batch_size=len(x))

    def configure_optimizers(self) -> Any:
        return with_schedule(self.optimizer(self.parameters()), self.schedule)
