"""Parity with the original code: every entry of the manifest, computed again by this project."""

from collections.abc import Callable

import pytest
import torch

from tests.parity import diffusion, inversion, networks, training
from tests.parity.case import ENTRIES, Case

CHECKS: dict[str, Callable[[Case], None]] = {
    "unet": networks.unet,
    "attention_block": networks.attention_block,
    "spatial_transformer": networks.spatial_transformer,
    "resblock": networks.resblock,
    "vae_resnet_block": networks.vae_resnet_block,
    "vae_attn_block": networks.vae_attn_block,
    "cross_attention": networks.cross_attention,
    "autoencoder_kl": networks.autoencoder_kl,
    "vq_model": networks.vq_model,
    "first_stage_scaling": diffusion.first_stage_scaling,
    "ldm": diffusion.whole_model,
    "lit_ema": training.lit_ema,
    "lr_schedulers": training.lr_schedulers,
    "personalized_dataset": training.personalized_dataset,
    "manager_bert": inversion.manager,
    "coarse_loss": inversion.coarse_loss,
    "conditioning": inversion.conditioning,
    "clip_text": inversion.clip_text,
    "ti_step": inversion.training,
    "q_and_losses": diffusion.q_and_losses,
    "bert": networks.bert,
    "timestep_embedding": networks.timestep_embeddings,
    "beta_schedule": diffusion.beta_schedules,
    "register_schedule": diffusion.register_schedule,
    "ddim_schedule": diffusion.ddim_schedules,
    "ddim_trajectory": diffusion.ddim_trajectory,
    "plms_trajectory": diffusion.plms_trajectory,
    "ddim_encode_decode": diffusion.ddim_encode_decode,
    "ancestral": diffusion.ancestral_trajectory,
}


@pytest.mark.parametrize("name", ENTRIES)
@torch.no_grad()
def test_the_original_s_numbers(name):
    entry = ENTRIES[name]
    CHECKS[entry["kind"]](Case(entry))
