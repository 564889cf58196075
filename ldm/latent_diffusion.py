"""Latent diffusion (Rombach et al. 2022, eq. 2): the UNet and the text encoder learn to denoise the autoencoder's
latents. The state dict has exactly the names of the published text-to-image checkpoint."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, cast

import pytorch_lightning as L
import torch
from torch import Tensor, nn

from .conditioning import cross_attention
from .keyed_random import generator
from .modules.autoencoder import AutoencoderKL, DiagonalGaussian
from .modules.unet import UNet
from .sampling import Sampler, guided
from .schedule import min_snr_weight, q_sample, scaled_linear_betas, schedule_buffers
from .training.optimization import constant, with_schedule


@contextmanager
def placed(module: L.LightningModule, device: torch.device) -> Iterator[None]:
    """`module` on `device` for a while; then back where it waits, if that is somewhere else."""
    home = module.device
    module.to(device)
    try:
        yield
    finally:
        module.to(home)


class LatentDiffusion(L.LightningModule):
    """A frozen first stage, and a UNet and a text encoder that train together; in the place of the text encoder may be
    another encoder of conditions, and `conditioning` says how its c reaches the UNet.

    `scale_factor` brings latents to about unit variance. The other arguments matter for training only:
    `caption_dropout` is the share of captions (classes, masks) replaced by nothing, which guidance needs;
    `min_snr_gamma` weighs the loss over t (None: all alike, as the paper)."""

    alphas_cumprod: Tensor

    def __init__(
        self,
        unet: UNet,
        first_stage: AutoencoderKL,
        text_encoder: Any,
        conditioning: Callable[..., Tensor] = cross_attention,
        scale_factor: float = 0.18215,
        timesteps: int = 1000,
        linear_start: float = 0.00085,
        linear_end: float = 0.012,
        caption_dropout: float = 0.1,
        min_snr_gamma: float | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        schedule: Callable[[int], float] = constant,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"diffusion_model": unet})
        self.first_stage_model = first_stage.eval().requires_grad_(False)
        self.cond_stage_model, self.conditioning = text_encoder, conditioning
        self.scale_factor = scale_factor
        for name, table in schedule_buffers(scaled_linear_betas(timesteps, linear_start, linear_end)).items():
            self.register_buffer(name, table)
        self.caption_dropout, self.min_snr_gamma = caption_dropout, min_snr_gamma
        self.optimizer, self.schedule, self.seed = optimizer, schedule, seed

    @property
    def unet(self) -> UNet:
        return cast(UNet, self.model["diffusion_model"])

    def freeze(self, dtype: torch.dtype = torch.float32) -> Self:
        """Freezes the model in place for inference and inversion; returns itself. No gradients, channels last, UNet and
        text encoder in `dtype`. The autoencoder stays in float32: it overflows in half precision, and runs seldom."""
        for network in (self.unet, self.cond_stage_model):
            network.to(dtype)
        return self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def eps(self, z_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """The predicted noise, float32 like z_t [b, c, h, w]; t [b]. The UNet computes in its own precision."""
        return self.conditioning(self.unet, z_t.to(self.unet.dtype), t, c.to(self.unet.dtype)).float()

    @property
    def alpha_bar(self) -> Tensor:
        """The schedule alpha_bar_t [timesteps]."""
        return self.alphas_cumprod

    @torch.no_grad()
    def encode_first_stage(self, x: Tensor) -> DiagonalGaussian:
        """x [b, 3, H, W] in [-1, 1] -> posterior over scaled latents z_0 [b, c, h, w]."""
        with placed(self.first_stage_model, x.device):
            posterior = self.first_stage_model.encode(x)
        log_scale = torch.tensor(self.scale_factor).log()
        return DiagonalGaussian(posterior.mean * self.scale_factor, posterior.logvar + 2.0 * log_scale)

    @torch.no_grad()
    def decode_first_stage(self, z: Tensor) -> Tensor:
        """z_0 [b, c, h, w] -> x [b, 3, H, W], about [-1, 1]."""
        with placed(self.first_stage_model, z.device):
            return self.first_stage_model.decode(z / self.scale_factor)

    @torch.no_grad()
    def sample(self, c: Tensor, z_T: Tensor, sampler: Sampler, guidance: float) -> Tensor:
        """Texts c [n, m, d] and noise z_T [n, c, h, w] -> pictures [n, 3, H, W], about [-1, 1], by guided sampling."""
        eps = guided(self.eps, c, self.cond_stage_model([self.cond_stage_model.unconditional]), guidance)
        return self.decode_first_stage(sampler(eps, z_T, self.alpha_bar))

    def noise(self, seed: int, indices: Iterable[int]) -> Tensor:
        """z_T [n, c, h, w] of pictures number `indices`: each from (seed, index) alone, whatever it is batched with."""
        shape = (self.unet.out_channels, self.unet.sample_size, self.unet.sample_size)
        draws = [torch.randn(shape, generator=generator(seed, index)) for index in indices]
        return torch.stack(draws).to(self.device)

    def losses(self, z_0: Tensor, c: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """eq. 2 for each sample: mean squared error of the predicted noise [b]; z_0 and eps [b, ...], c [b, m, d], t
        [b]."""
        z_t = q_sample(z_0, eps, self.alpha_bar[t])
        return (eps - self.eps(z_t, t, c)).square().mean(dim=(1, 2, 3))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        rng = generator(self.seed, self.global_step)
        z_0, t, eps = self._noised(batch, rng)
        dropped = (torch.rand(len(t), generator=rng) < self.caption_dropout).tolist()
        conditions, unconditional = batch[self.cond_stage_model.condition_key], self.cond_stage_model.unconditional
        conditions = [unconditional if drop else value for drop, value in zip(dropped, conditions, strict=True)]
        losses = self.losses(z_0, self.cond_stage_model(conditions), t, eps)
        weight = 1.0 if self.min_snr_gamma is None else min_snr_weight(self.alpha_bar[t], self.min_snr_gamma)
        self.log("train/loss", losses.detach().mean(), prog_bar=True)
        return (weight * losses).mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Logs the loss with the right conditions, and how much larger it is with those of other pictures."""
        z_0, t, eps = self._noised(batch, generator(self.seed, batch_idx))
        conditions: Sequence[Any] = batch[self.cond_stage_model.condition_key]
        right = self.losses(z_0, self.cond_stage_model(conditions), t, eps).mean()
        wrong = self.losses(z_0, self.cond_stage_model([*conditions[1:], conditions[0]]), t, eps).mean()
        self.log_dict({"val/loss": right, "val/text_gap": wrong - right}, prog_bar=True, batch_size=len(conditions))

    def _noised(self, batch: dict[str, Any], rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """z_0 drawn from the batch's first-stage posteriors {"mean", "std"} [b, c, h, w], uniform t [b], eps like
        z_0."""
        mean, std = batch["mean"], batch["std"]
        noise, eps = torch.randn(2, *mean.shape, generator=rng).to(mean.device)
        t = torch.randint(len(self.alpha_bar), (len(mean),), generator=rng).to(mean.device)
        return self.scale_factor * (mean + std * noise), t, eps

    def configure_optimizers(self) -> Any:
        trainable = [*self.unet.parameters(), *self.cond_stage_model.parameters()]
        return with_schedule(self.optimizer(trainable), self.schedule)
