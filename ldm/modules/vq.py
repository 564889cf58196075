"""The first stage with a codebook instead of the KL term (van den Oord et al. 2017; Rombach et al. 2022, section 3.1).
Parameter names and shapes are those of the published vq-f4 model."""

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as L
import torch
from einops import rearrange
from torch import Tensor, nn

from ..training.optimization import constant, with_schedule
from .autoencoder import Decoder, DiagonalGaussian, Encoder, psnr, require_multiples


class Codebook(nn.Module):
    """Vector quantisation with `size` entries of `dim` numbers: each position of a latent is replaced by the nearest
    entry.

    `commitment` is beta in the paper. As in the published code (with its default, `legacy=True`), it weights the term
    that moves the codebook, not the term that moves the encoder."""

    def __init__(self, size: int, dim: int, commitment: float = 0.25) -> None:
        super().__init__()
        self.commitment = commitment
        self.embedding = nn.Embedding(size, dim)
        nn.init.uniform_(self.embedding.weight, -1.0 / size, 1.0 / size)

    def nearest(self, z: Tensor) -> Tensor:
        """Return the indices [b, h, w] of the entries nearest to z [b, dim, h, w]."""
        flat, table = rearrange(z, "b d h w -> (b h w) d"), self.embedding.weight
        distance = flat.square().sum(1, keepdim=True) + table.square().sum(1) - 2.0 * flat @ table.T
        return distance.argmin(dim=1).view(len(z), *z.shape[2:])

    def entries(self, indices: Tensor) -> Tensor:
        """Look up the entries [b, dim, h, w] of indices [b, h, w]."""
        return rearrange(self.embedding(indices), "b h w d -> b d h w")

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entries nearest to z [b, dim, h, w], with a straight-through gradient, and the loss that pulls z
        and the entries together."""
        z_q = self.entries(self.nearest(z))
        loss = (z_q.detach() - z).square().mean() + self.commitment * (z_q - z.detach()).square().mean()
        return z + (z_q - z).detach(), loss


class VQModel(L.LightningModule):
    """Images x [b, 3, H, W] in [-1, 1] <-> latents z [b, embed_dim, H / f, W / f]; f = 2 ** (len(channel_mult) - 1).

    A diffusion model uses it like AutoencoderKL: `encode` returns latents before quantisation (as a posterior with zero
    variance), and `decode` quantises first. `reconstruction_loss`(x, x_hat) -> scalar, `optimizer` and `schedule` are
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
        self.embed_dim = embed_dim
        self.downsampling = 2 ** (len(channel_mult) - 1)
        self.width = channels * max(channel_mult[:2])  # of the widest features as large as the image
        self.reconstruction_loss, self.optimizer, self.schedule = reconstruction_loss, optimizer, schedule

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """Encode x [b, 3, H, W] in [-1, 1] to z before quantisation, as a posterior with zero variance. Raise
        ValueError unless H and W are multiples of `downsampling`."""
        require_multiples(x, self.downsampling)
        z = self.quant_conv(self.encoder(x)).float()
        return DiagonalGaussian(z, torch.full_like(z, -torch.inf))

    def decode(self, z: Tensor) -> Tensor:
        """Quantise z [b, embed_dim, h, w] and decode it to x [b, 3, H, W], about [-1, 1], not clipped."""
        return self.decode_entries(self.quantize(z)[0])

    def decode_entries(self, z_q: Tensor) -> Tensor:
        """Decode z_q [b, embed_dim, h, w] without quantising it."""
        return self.decoder(self.post_quant_conv(z_q))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        x = batch["image"].contiguous(memory_format=torch.channels_last)  # faster, also on CPUs
        z_q, codebook_loss = self.quantize(self.encode(x).mean)
        reconstruction = self.reconstruction_loss(self.decode_entries(z_q).float(), x)
        losses = {"reconstruction": reconstruction.detach(), "codebook": codebook_loss.detach()}
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, prog_bar=True)
        return reconstruction + codebook_loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the PSNR of the reconstruction."""
        x = batch["image"]
        self.log("val/psnr", psnr(self.decode(self.encode(x).mean), x).mean(), prog_bar=True, batch_size=len(x))

    def configure_optimizers(self) -> Any:
        return with_schedule(self.optimizer(self.parameters()), self.schedule)
