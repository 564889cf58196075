"""Export a complete pipeline folder for diffusers: weights (see `diffusers_layout`), config files and tokenizer."""

import json
from pathlib import Path
from typing import Any, cast

from torch import nn

from ..errors import UserError
from ..files import replacing
from ..latent_diffusion import LatentDiffusion
from ..modules.attention import SpatialTransformer
from ..modules.autoencoder import AutoencoderKL
from ..modules.clip_text import CLIPTextEncoder
from ..modules.text import BERTTextEncoder
from ..modules.unet import UNet
from .diffusers_layout import blocks_per_level, write_diffusers

Config = dict[str, Any]
_TOKENS = 77  # the only text length that LDMTextToImagePipeline supports


def unet_config(unet: UNet) -> Config:
    """Return the config of a UNet2DConditionModel."""
    per_level = blocks_per_level(unet.state_dict())
    stages = [cast(nn.ModuleList, unet.input_blocks[1 + i]) for i in range(0, len(unet.input_blocks), per_level + 1)]
    attends = [any(isinstance(layer, SpatialTransformer) for layer in stage) for stage in stages]
    transformer = next(module for module in unet.modules() if isinstance(module, SpatialTransformer))
    attention = cast(Any, transformer.transformer_blocks[0]).attn2
    return {
        "_class_name": "UNet2DConditionModel",
        "sample_size": unet.sample_size,
        "in_channels": unet.in_channels,
        "out_channels": unet.out_channels,
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
        "block_out_channels": [cast(Any, stage[0]).out_layers[3].out_channels for stage in stages],
        "layers_per_block": per_level,
        "attention_head_dim": attention.heads,  # what diffusers calls the number of heads
        "cross_attention_dim": attention.to_k.in_features,
        "norm_num_groups": cast(Any, unet.out[0]).num_groups,
    }


def autoencoder_config(autoencoder: AutoencoderKL, side: int, scale_factor: float) -> Config:
    """Return the config of an AutoencoderKL for images with sides of `side` pixels."""
    shapes = {name: value.shape for name, value in autoencoder.state_dict().items()}
    per_level = sum(name.startswith("encoder.down.0.block.") and name.endswith("conv1.bias") for name in shapes)
    first = [name for name in shapes if name.startswith("encoder.down.") and name.endswith(".block.0.conv1.weight")]
    return {
        "_class_name": "AutoencoderKL",
        "sample_size": side,
        "down_block_types": ["DownEncoderBlock2D"] * len(first),
        "up_block_types": ["UpDecoderBlock2D"] * len(first),
        "block_out_channels": [shapes[f"encoder.down.{i}.block.0.conv1.weight"][0] for i in range(len(first))],
        "layers_per_block": per_level,
        "latent_channels": shapes["post_quant_conv.weight"][0],
        "norm_num_groups": cast(Any, autoencoder.get_submodule("encoder.norm_out")).num_groups,
        "scaling_factor": scale_factor,
    }


def bert_config(text: BERTTextEncoder) -> Config:
    """Return the config of an LDMBertModel."""
    layers = cast(Any, text.transformer["attn_layers"]).layers
    attention, feed_forward = layers[0][1], layers[1][1]
    return {
        "architectures": ["LDMBertModel"],
        "model_type": "ldmbert",
        "vocab_size": text.vocab_size,
        "max_position_embeddings": text.max_length,
        "d_model": text.width,
        "encoder_layers": len(layers) // 2,
        "encoder_attention_heads": attention.heads,
        "head_dim": attention.to_q.out_features // attention.heads,
        "encoder_ffn_dim": feed_forward.net[0][0].out_features,
    }


def clip_config(text: CLIPTextEncoder) -> Config:
    """Return the config of a CLIPTextModel."""
    layers = cast(Any, text.transformer["text_model"])["encoder"]["layers"]
    start, end = text.tokenizer.frame([])[:2]
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": text.vocab_size,
        "max_position_embeddings": text.max_length,
        "hidden_size": text.width,
        "intermediate_size": layers[0].mlp.fc1.out_features,
        "num_hidden_layers": len(layers),
        "num_attention_heads": layers[0].self_attn.heads,
        "hidden_act": "quick_gelu",
        "bos_token_id": start,
        "eos_token_id": end,
        "pad_token_id": text.tokenizer.pad_id,
    }


def scheduler_config(ldm: LatentDiffusion) -> Config:
    """Return the config of a DDIMScheduler with the published timesteps."""
    betas = ldm.get_buffer("betas")
    return {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": len(betas),
        "beta_start": round(float(betas[0]), 8),
        "beta_end": round(float(betas[-1]), 8),
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    }


def save_pipeline(folder: Path, ldm: LatentDiffusion) -> None:
    """Write a folder that LDMTextToImagePipeline or StableDiffusionPipeline loads with from_pretrained. Raises
    UserError if the folder exists, or if these pipelines cannot run the model."""
    text, first_stage = ldm.cond_stage_model, ldm.first_stage_model
    if folder.exists():
        raise UserError(f"{folder} already exists: choose another folder.")
    if not isinstance(text, BERTTextEncoder | CLIPTextEncoder) or text.max_length != _TOKENS:
        raise UserError(f"diffusers cannot run this model: its pipelines need a text encoder for {_TOKENS} tokens.")
    if not isinstance(first_stage, AutoencoderKL):
        raise UserError("diffusers cannot run this model: its pipelines need a first stage without a codebook.")
    bert = isinstance(text, BERTTextEncoder)
    vae = "vqvae" if bert else "vae"
    side = ldm.unet.sample_size * first_stage.downsampling
    configs = {
        "unet/config.json": unet_config(ldm.unet),
        f"{vae}/config.json": autoencoder_config(first_stage, side, float(ldm.scale_factor)),
        "scheduler/scheduler_config.json": scheduler_config(ldm),
        **({"bert/config.json": bert_config(text)} if bert else {"text_encoder/config.json": clip_config(text)}),
    }
    index = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        vae: ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    if bert:
        index |= {"bert": ["latent_diffusion", "LDMBertModel"], "tokenizer": ["transformers", "BertTokenizer"]}
        configs["model_index.json"] = {"_class_name": "LDMTextToImagePipeline", **index}
    else:
        index |= {"text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"]}
        unused = {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
        configs["model_index.json"] = {"_class_name": "StableDiffusionPipeline", **index, **unused}
    with replacing(folder) as partial:
        write_diffusers(partial, ldm.state_dict())
        text.tokenizer.save(partial / "tokenizer")
        for name, config in configs.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_text(json.dumps(config, indent=2), encoding="utf-8")
