"""Latent diffusion (Rombach et al. 2022, eq. 2): the UNet and the text encoder learn to denoise the latents of the
autoencoder. The state dict has the same names as the published text-to-image checkpoint."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, cast

import pytorch_lightning as L
import torch
from torch import Tensor, nn

from .conditioning import Conditioner, TextEncoder, cross_attention
from .cuda_graph import Replay
from .errors import UserError
from .keyed_random import generator, step_generator
from .modules.attention import KeysAndValues
from .modules.autoencoder import AutoencoderKL, DiagonalGaussian
from .modules.unet import UNet
from .modules.vq import VQModel
from .sampling import Condition, Noise, Sampler, guided
from .schedule import min_snr_weight, q_sample, scaled_linear_betas, schedule_buffers
from .training.optimization import constant, with_schedule
from .weights.fingerprint import weights_hash

# So many values of the first stage's widest features are computed at once: those of 32 Toyland images, or of one image
# of a published model. More images take more memory and hardly less time.
MOST_VALUES = 1 << 24


@contextmanager
def placed(module: L.LightningModule, device: torch.device) -> Iterator[None]:
    """Move `module` to `device` for the block, then back to the device it was on."""
    home = module.device
    module.to(device)
    try:
        yield
    finally:
        module.to(home)


class LatentDiffusion(L.LightningModule):
    """A frozen first stage, and a UNet and a text encoder that are trained together. Any other `Conditioner` can
    replace the text encoder; `conditioning` defines how its c enters the UNet.

    `scale_factor` scales the latents to about unit variance. A tensor is a part of the weights, as in published models
    whose training measured it. `linear_start` and `linear_end` are the ends of beta_t. `name` is the name of the
    constructor in `models`, or empty. The other arguments are for training only: `caption_dropout` is the fraction of
    captions (classes, masks) that are replaced by the unconditional value, which classifier-free guidance requires;
    `min_snr_gamma` weights the loss over t (None: uniform weights, as in the paper)."""

    alphas_cumprod: Tensor
    scale_factor: float | Tensor

    def __init__(
        self,
        unet: UNet,
        first_stage: AutoencoderKL | VQModel,
        text_encoder: Conditioner,
        conditioning: Callable[..., Tensor] = cross_attention,
        scale_factor: float | Tensor = 0.18215,
        timesteps: int = 1000,
        linear_start: float = 0.00085,
        linear_end: float = 0.012,
        caption_dropout: float = 0.1,
        min_snr_gamma: float | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        schedule: Callable[[int], float] = constant,
        seed: int = 0,
        name: str = "",
    ) -> None:
        super().__init__()
        self.name, self._fingerprint = name, ""
        self.model = nn.ModuleDict({"diffusion_model": unet})
        self.first_stage_model = first_stage.eval().requires_grad_(False)
        self.cond_stage_model: Conditioner = text_encoder  # the name in the published checkpoint
        self.conditioning = conditioning
        if isinstance(scale_factor, Tensor):
            self.register_buffer("scale_factor", scale_factor)
        else:
            self.scale_factor = scale_factor
        self._schedule = (timesteps, linear_start, linear_end)
        for name, table in self.schedule_tables().items():
            self.register_buffer(name, table)
        self.caption_dropout, self.min_snr_gamma = caption_dropout, min_snr_gamma
        self.optimizer, self.schedule, self.seed = optimizer, schedule, seed

    @property
    def unet(self) -> UNet:
        return cast(UNet, self.model["diffusion_model"])

    @property
    def text_encoder(self) -> TextEncoder:
        """The text encoder. Raises UserError if the model is conditioned on something else."""
        if not hasattr(self.cond_stage_model, "tokenize"):
            raise UserError(
                f"the model has no text encoder: it is conditioned on a {self.cond_stage_model.condition_key}."
            )
        return cast(TextEncoder, self.cond_stage_model)

    @property
    def fingerprint(self) -> str:
        """A hash of the text encoder's weights in float32, before `freeze` rounded them. It identifies the encoder that
        a learned word belongs to."""
        return self._fingerprint or weights_hash(cast(nn.Module, self.cond_stage_model), torch.float32)

    def schedule_tables(self) -> dict[str, Tensor]:
        """Return the twelve tables of the noise schedule, name -> [timesteps]. They follow from the constructor's
        arguments, so they are never read from a file, where half precision would round them."""
        return schedule_buffers(scaled_linear_betas(*self._schedule))

    def freeze(self, dtype: torch.dtype = torch.float32) -> Self:
        """Freeze the model in place for inference and inversion; returns self.

        Gradients are off, the memory format is channels last, and the UNet and the text encoder are in `dtype`. The
        autoencoder stays in float32: it overflows in half precision, and it runs rarely."""
        if dtype != torch.float32:
            self._fingerprint = self.fingerprint
        dtypes = {self.unet: dtype, self.cond_stage_model: dtype, self.first_stage_model: torch.float32}
        for network, own in dtypes.items():
            cast(Any, network).to(dtype=own, memory_format=torch.channels_last)  # in one pass, for the memory
        return self.eval().requires_grad_(False)

    def eps(self, z_t: Tensor, t: Tensor, c: Tensor | list[KeysAndValues]) -> Tensor:
        """Return the predicted noise in float32, shaped like z_t [b, c, h, w]; t [b]. The UNet computes in its own
        dtype."""
        if isinstance(c, Tensor):
            c = c.to(self.unet.dtype)
        return self.conditioning(self.unet, z_t.to(self.unet.dtype), t, c).float()

    @property
    def alpha_bar(self) -> Tensor:
        """The noise schedule alpha_bar_t [timesteps]."""
        return self.alphas_cumprod

    @torch.no_grad()
    def encode_first_stage(self, x: Tensor) -> DiagonalGaussian:
        """Encode images x [b, 3, H, W] in [-1, 1] to the posterior over scaled latents z_0 [b, c, h, w]."""
        with placed(self.first_stage_model, x.device):
            parts = [self.first_stage_model.encode(part) for part in self._slices(x, 1)]
        mean, logvar = (torch.cat([getattr(part, of) for part in parts]) for of in ("mean", "logvar"))
        log_scale = torch.as_tensor(self.scale_factor).log()
        return DiagonalGaussian(mean * self.scale_factor, logvar + 2.0 * log_scale)

    @torch.no_grad()
    def decode_first_stage(self, z: Tensor) -> Tensor:
        """Decode z_0 [b, c, h, w] to images x [b, 3, H, W], about [-1, 1]."""
        with placed(self.first_stage_model, z.device):
            parts = self._slices(z / self.scale_factor, self.first_stage_model.downsampling)
            return torch.cat([self.first_stage_model.decode(part) for part in parts])

    def _slices(self, x: Tensor, scale: int) -> tuple[Tensor, ...]:
        """Split images, or latents whose sides are those of the images divided by `scale`, into batches that the first
        stage computes at once."""
        values = self.first_stage_model.width * x.shape[-1] * x.shape[-2] * scale**2
        return x.split(max(1, MOST_VALUES // values))

    @torch.no_grad()
    def sample(
        self,
        c: Condition,
        z_T: Tensor,
        sampler: Sampler,
        guidance: float,
        noise: Noise | None = None,
        uncond: Condition | None = None,
    ) -> Tensor:
        """Sample images [n, 3, H, W], about [-1, 1], from encoded texts c [n, m, d] and noise z_T [n, c, h, w] with
        classifier-free guidance. Stochastic samplers add `noise` in every step. Guidance leads away from `uncond`
        [1, m, d]; None is the encoded empty text."""
        if uncond is None:
            uncond = self.cond_stage_model([self.cond_stage_model.unconditional])
        return self.decode_first_stage(
            sampler(guided(self.denoiser(), c, uncond, guidance), z_T, self.alpha_bar, noise)
        )

    def denoiser(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Return `eps` for sampling without gradients. For a frozen model on CUDA, its kernels are recorded once per
        batch shape and replayed. Elsewhere, a text is projected to keys and values once while c is the same tensor."""
        frozen = not any(parameter.requires_grad for parameter in self.unet.parameters())
        if frozen and self.device.type == "cuda":
            return Replay(self.eps, self.unet)
        if self.conditioning is not cross_attention:
            return self.eps
        last: tuple[Tensor, list[KeysAndValues]] | None = None

        def eps(z_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
            nonlocal last
            if last is None or last[0] is not c:
                last = c, self.unet.project(c.to(self.unet.dtype))
            return self.eps(z_t, t, last[1])

        return eps

    def noise(self, seed: int, indices: Iterable[int], *step: int) -> Tensor:
        """Return the starting noise z_T [n, c, h, w] of the images `indices`, or the noise of their sampling step
        `step`. Each depends only on (seed, index, step), not on the rest of the batch."""
        shape = (self.unet.out_channels, self.unet.sample_size, self.unet.sample_size)
        draws = torch.stack([torch.randn(shape, generator=generator(seed, index, *step)) for index in indices])
        if self.device.type == "cuda":
            draws = draws.pin_memory()  # so that the copy does not block the CPU
        return draws.to(self.device, non_blocking=True)

    def losses(self, z_0: Tensor, c: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Return eq. 2 for each sample, the mean squared error of the predicted noise [b]; z_0 and eps [b, c, h, w],
        c [b, m, d], t [b]."""
        z_t = q_sample(z_0, eps, self.alpha_bar[t])
        return (eps - self.eps(z_t, t, c)).square().mean(dim=(1, 2, 3))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        rng = step_generator(self.seed, self.global_step, self.global_rank)
        z_0, t, eps = self._noised(batch, rng)
        dropped = (torch.rand(len(t), generator=rng) < self.caption_dropout).tolist()
        conditions, unconditional = batch[self.cond_stage_model.condition_key], self.cond_stage_model.unconditional
        conditions = [unconditional if drop else value for drop, value in zip(dropped, conditions, strict=True)]
        losses = self.losses(z_0, self.cond_stage_model(conditions), t, eps)
        weight = 1.0 if self.min_snr_gamma is None else min_snr_weight(self.alpha_bar[t], self.min_snr_gamma)
        self.log("train/loss", losses.detach().mean(), prog_bar=True)
        return (weight * losses).mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log the loss with the right conditions, and by how much it grows with the conditions of other images."""
        z_0, t, eps = self._noised(batch, generator(self.seed, batch_idx))
        conditions: Sequence[Any] = batch[self.cond_stage_model.condition_key]
        right = self.losses(z_0, self.cond_stage_model(conditions), t, eps).mean()
        wrong = self.losses(z_0, self.cond_stage_model([*conditions[1:], conditions[0]]), t, eps).mean()
        self.log_dict({"val/loss": right, "val/text_gap": wrong - right}, prog_bar=True, batch_size=len(conditions))

    def _noised(self, batch: dict[str, Any], rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw z_0 from the first-stage posteriors in the batch ("mean" and "std", both [b, c, h, w]), t [b] uniformly,
        and eps, shaped like z_0."""
        mean, std = batch["mean"], batch["std"]
        noise, eps = torch.randn(2, *mean.shape, generator=rng).to(mean.device)
        t = torch.randint(len(self.alpha_bar), (len(mean),), generator=rng).to(mean.device)
        # Weights in this format would be faster still, but the fused AdamW of CPUs mixes up two memory formats.
        z_0 = (self.scale_factor * (mean + std * noise)).contiguous(memory_format=torch.channels_last)
        return z_0, t, eps

    def configure_optimizers(self) -> Any:
        every = [*self.unet.parameters(), *self.cond_stage_model.parameters()]
        return with_schedule(self.optimizer([p for p in every if p.requires_grad]), self.schedule)
