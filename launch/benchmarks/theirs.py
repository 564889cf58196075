"""What diffusers does for the same model: its own modules with our weights, the training step of its textual inversion
example, its pipeline."""

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ldm.latent_diffusion import LatentDiffusion
from ldm.weights.diffusers_layout import diffusers_parts
from ldm.weights.diffusers_pipeline import autoencoder_config, bert_config, scheduler_config, unet_config


def parts(ldm: LatentDiffusion, picture_side: int) -> SimpleNamespace:
    """diffusers' own unet, vae, text encoder and scheduler for a model with the BERT-style text encoder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of diffusers about itself
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        made: dict[str, Any] = {
            "unet": UNet2DConditionModel.from_config(unet_config(ldm.unet)),
            "vqvae": AutoencoderKL.from_config(
                autoencoder_config(ldm.first_stage_model, picture_side, ldm.scale_factor)
            ),
            "bert": LDMBertModel(LDMBertConfig(**_without_names(bert_config(ldm.cond_stage_model)))),
        }
    for name, weights in diffusers_parts(ldm.state_dict()).items():
        made[name].load_state_dict(weights, strict=False)
        made[name].to(ldm.device)
    return SimpleNamespace(**made, scheduler=DDIMScheduler.from_config(scheduler_config(ldm)))


def _without_names(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("architectures", "model_type")}


def inversion_step(ldm: LatentDiffusion, images: Tensor, ids: Tensor, learning_rate: float) -> Callable[[], object]:
    """One optimiser step as in diffusers' examples/textual_inversion/textual_inversion.py, without its reading of the
    pictures from the disk: the whole embedding table is optimised and all rows but the new word's put back, and the
    pictures are encoded in every step. images [b, 3, H, W]; ids [b, n], where the first id beyond the vocabulary is the
    new word."""
    model = parts(ldm, images.shape[-1])
    table = model.bert.model.embed_tokens
    count, width = table.weight.shape
    wider = nn.Embedding(count + 1, width, device=ldm.device)
    wider.weight.data[:count], wider.weight.data[count] = table.weight.data, table.weight.data[-1]
    model.bert.model.embed_tokens = wider
    for module in (model.unet, model.vqvae, model.bert):
        module.requires_grad_(False)
    wider.weight.requires_grad_(True)
    model.bert.train()  # as in the example
    optimizer = torch.optim.AdamW(wider.parameters(), lr=learning_rate)
    scale, before = ldm.scale_factor, wider.weight.detach().clone()

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


def pipeline(
    ldm: LatentDiffusion, picture_side: int, autocast: bool = False
) -> Callable[[list[str], int, float], object]:
    """LDMTextToImagePipeline with the same weights: (prompts, steps, guidance) -> pictures; in float32, or under
    torch's autocast to bfloat16."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMTextToImagePipeline

    def tokenizer(texts: list[str], **_: Any) -> SimpleNamespace:
        """The pipeline asks for 77 tokens; this model reads fewer."""
        return SimpleNamespace(input_ids=ldm.cond_stage_model.tokenize(texts))

    model = parts(ldm, picture_side)
    decode = model.vqvae.decode
    model.vqvae.decode = lambda z, **_: SimpleNamespace(sample=decode(z).sample.float())  # numpy has no bfloat16
    built = LDMTextToImagePipeline(
        vqvae=model.vqvae.eval(),
        bert=model.bert.eval(),
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
        unet=model.unet.eval(),
        scheduler=model.scheduler,
    )
    built.set_progress_bar_config(disable=True)

    def paint(prompts: list[str], steps: int, guidance: float) -> object:
        with torch.autocast(ldm.device.type, torch.bfloat16, enabled=autocast):
            return built(prompts, num_inference_steps=steps, guidance_scale=guidance, output_type="np")

    return paint
