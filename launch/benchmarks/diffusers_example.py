"""The training step of diffusers' textual inversion example. Only torch and diffusers are imported, so that a process
can measure it alone."""

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def inversion_step(
    model: Any, images: Tensor, ids: Tensor, learning_rate: float, scale: float | Tensor
) -> Callable[[], object]:
    """Return a function that takes one optimiser step as in diffusers' examples/textual_inversion/textual_inversion.py,
    but without reading images from the disk. As in the example, the whole embedding table is optimised, then all rows
    but that of the new word are restored, and the images are encoded in every step. `model` has the parts unet, vqvae,
    bert and scheduler; images [b, 3, H, W]; ids [b, n], where the first id after the vocabulary is the new word; the
    latents are multiplied by `scale`."""
    table = model.bert.model.embed_tokens
    count, width = table.weight.shape
    wider = nn.Embedding(count + 1, width, device=images.device)
    wider.weight.data[:count], wider.weight.data[count] = table.weight.data, table.weight.data[-1]
    model.bert.model.embed_tokens = wider
    for module in (model.unet, model.vqvae, model.bert):
        module.requires_grad_(False)
    wider.weight.requires_grad_(True)
    model.bert.train()  # as in the example
    optimizer = torch.optim.AdamW(wider.parameters(), lr=learning_rate)
    before = wider.weight.detach().clone()

    def step() -> None:
        latents = model.vqvae.encode(images).latent_dist.sample().detach() * scale
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, model.scheduler.config.num_train_timesteps, (len(latents),), device=latents.device)
        noisy = model.scheduler.add_noise(latents, noise, timesteps)
        states = model.bert(ids)[0]
        predicted = model.unet(noisy, timesteps, states).sample
        loss = F.mse_loss(predicted.float(), noise.float(), reduction="mean")
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            wider.weight[:count] = before[:count]

    return step


def saved_parts(folder: Path, device: str) -> SimpleNamespace:
    """Load the parts that `theirs.save_parts` has written to `folder`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers warns about its own code
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertModel
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        return SimpleNamespace(
            unet=UNet2DConditionModel.from_pretrained(folder / "unet").to(device),
            vqvae=AutoencoderKL.from_pretrained(folder / "vqvae").to(device),
            bert=LDMBertModel.from_pretrained(folder / "bert").to(device),
            scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
        )
