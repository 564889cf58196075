"""diffusers with the same model: its modules with our weights, the training step of its textual inversion example, and
its pipeline."""

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor

from ldm.latent_diffusion import LatentDiffusion
from ldm.modules.autoencoder import AutoencoderKL as KLFirstStage
from ldm.modules.text import BERTTextEncoder
from ldm.weights.diffusers_layout import diffusers_parts
from ldm.weights.diffusers_pipeline import autoencoder_config, bert_config, scheduler_config, unet_config

from . import diffusers_example


def parts(ldm: LatentDiffusion, picture_side: int) -> SimpleNamespace:
    """Build the UNet, VAE, text encoder and scheduler of diffusers for a model with the BERT-style text encoder. They
    share its weights, so that the 1.4B model is in memory once."""
    first_stage = cast(KLFirstStage, ldm.first_stage_model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers warns about its own code
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        vae_config = autoencoder_config(first_stage, picture_side, float(ldm.scale_factor))
        text_config = _without_names(bert_config(cast(BERTTextEncoder, ldm.text_encoder)))
        builders: dict[str, Callable[[], Any]] = {
            "unet": lambda: UNet2DConditionModel.from_config(unet_config(ldm.unet)),
            "vqvae": lambda: AutoencoderKL.from_config(vae_config),
            "bert": lambda: LDMBertModel(LDMBertConfig(**text_config)),
        }
        weights, made = diffusers_parts(ldm.state_dict()), dict[str, Any]()
        for name, build in builders.items():  # one after the other: each is first built with weights of its own
            made[name] = build()
            made[name].load_state_dict(weights[name], strict=False, assign=True)
            made[name].to(ldm.device)
    return SimpleNamespace(**made, scheduler=DDIMScheduler.from_config(scheduler_config(ldm)))


def _without_names(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("architectures", "model_type")}


def save_parts(folder: Path, ldm: LatentDiffusion, picture_side: int) -> None:
    """Write the parts of diffusers to `folder`, for `diffusers_example.saved_parts`."""
    for name, part in vars(parts(ldm, picture_side)).items():
        part.save_pretrained(folder / name)


def inversion_step(ldm: LatentDiffusion, images: Tensor, ids: Tensor, learning_rate: float) -> Callable[[], object]:
    """Return the step of diffusers' example (see `diffusers_example.inversion_step`) for a model."""
    return diffusers_example.inversion_step(parts(ldm, images.shape[-1]), images, ids, learning_rate, ldm.scale_factor)


def pipeline(
    ldm: LatentDiffusion, picture_side: int, autocast: bool = False
) -> Callable[[list[str], int, float], object]:
    """Return LDMTextToImagePipeline with the same weights as a function (prompts, steps, guidance) -> images. It runs
    in float32, or under torch's autocast to bfloat16."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMTextToImagePipeline

    def tokenizer(texts: list[str], **_: Any) -> SimpleNamespace:
        """Tokenize to the length of this model. The pipeline would pad to 77 tokens."""
        return SimpleNamespace(input_ids=ldm.text_encoder.tokenize(texts))

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

    def generate(prompts: list[str], steps: int, guidance: float) -> object:
        with torch.autocast(ldm.device.type, torch.bfloat16, enabled=autocast):
            return built(prompts, num_inference_steps=steps, guidance_scale=guidance, output_type="np")

    return generate
