"""Constructors of the published and the shipped models. Their sizes are defined here and nowhere else: the configs
target these functions. All models are untrained; `ldm.weights.checkpoint.load_weights` loads weights into them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

import torch

from .conditioning import ClassEncoder, NoCondition, no_condition
from .latent_diffusion import LatentDiffusion
from .modules.autoencoder import AutoencoderKL
from .modules.clip_text import CLIPTextEncoder
from .modules.layers import nonzero_init
from .modules.text import BERTTextEncoder
from .modules.unet import UNet
from .modules.vq import VQModel


class Training(TypedDict, total=False):
    """The arguments of `LatentDiffusion` that are for training only."""

    caption_dropout: float
    min_snr_gamma: float | None
    optimizer: Callable[..., torch.optim.Optimizer]
    schedule: Callable[[int], float]
    seed: int


# Images 256x256x3 <-> latents 32x32x4 (or 512 <-> 64): the first stage of the 1.4B model and of Stable Diffusion 1.
kl_f8 = partial(AutoencoderKL, channels=128, channel_mult=(1, 2, 4, 4), num_res_blocks=2, z_channels=4, embed_dim=4)

# Images 256x256x3 <-> latents 64x64x3, with a codebook: the first stage of the ImageNet and CelebA-HQ models.
vq_f4 = partial(
    VQModel, channels=128, channel_mult=(1, 2, 4), num_res_blocks=2, z_channels=3, embed_dim=3, codebook_size=8192
)

# Images 128x128x3 <-> latents 32x32x4. Every normalisation group has at least four channels, as in kl_f8.
toyland_first_stage = partial(
    AutoencoderKL, channels=32, channel_mult=(1, 2, 4), num_res_blocks=1, z_channels=4, embed_dim=4, groups=8
)

TOYLAND_SCALE_FACTOR = (
    0.57256  # 1 / standard deviation of its latents of the training images (training.latents.unit_scale)
)


def _published_unet(context_dim: int, sample_size: int) -> UNet:
    return UNet(
        in_channels=4,
        out_channels=4,
        model_channels=320,
        channel_mult=(1, 2, 4, 4),
        num_res_blocks=2,
        attention_levels=(0, 1, 2),
        num_heads=8,
        context_dim=context_dim,
        sample_size=sample_size,
    )


def ldm_1p4b(vocabulary: str | Path) -> LatentDiffusion:
    """Build the text-to-image model of Rombach et al. (2022), for 256x256 images. The textual inversion paper uses this
    model. `vocabulary` is the vocab.txt of bert-base-uncased."""
    return LatentDiffusion(
        first_stage=kl_f8(),
        unet=_published_unet(context_dim=1280, sample_size=32),
        text_encoder=BERTTextEncoder(vocabulary, vocab_size=30522, width=1280, depth=32, max_length=77),
        scale_factor=0.18215,
        name="ldm_1p4b",
    )


def stable_diffusion_v1(vocabulary: str | Path) -> LatentDiffusion:
    """Build Stable Diffusion 1.x, for 512x512 images, with the text encoder of CLIP ViT-L/14. `vocabulary` is the
    folder of its tokenizer."""
    return LatentDiffusion(
        first_stage=kl_f8(),
        unet=_published_unet(context_dim=768, sample_size=64),
        text_encoder=CLIPTextEncoder(vocabulary),
        scale_factor=0.18215,
        name="stable_diffusion_v1",
    )


def cin256_v2() -> LatentDiffusion:
    """Build the class-conditional ImageNet model of Rombach et al. (2022), for 256x256 images. The classes are named by
    their ImageNet index, "0" to "999"."""
    return LatentDiffusion(
        first_stage=vq_f4(),
        unet=UNet(
            in_channels=3,
            out_channels=3,
            model_channels=192,
            channel_mult=(1, 2, 3, 5),
            num_res_blocks=2,
            attention_levels=(1, 2, 3),
            num_heads=1,
            context_dim=512,
            sample_size=64,
        ),
        text_encoder=ClassEncoder([str(index) for index in range(1000)], width=512),
        scale_factor=1.0,
        linear_start=0.0015,
        linear_end=0.0195,
        name="cin256_v2",
    )


def celebahq() -> LatentDiffusion:
    """Build the unconditional CelebA-HQ model of Rombach et al. (2022), for 256x256 images of faces."""
    return LatentDiffusion(
        first_stage=vq_f4(),
        unet=UNet(
            in_channels=3,
            out_channels=3,
            model_channels=224,
            channel_mult=(1, 2, 3, 4),
            num_res_blocks=2,
            attention_levels=(1, 2, 3),
            head_channels=32,
            sample_size=64,
        ),
        text_encoder=NoCondition(),
        conditioning=no_condition,
        scale_factor=1.0,
        linear_start=0.0015,
        linear_end=0.0195,
        name="celebahq",
    )


def lsun_churches() -> LatentDiffusion:
    """Build the unconditional LSUN-Churches model of Rombach et al. (2022), for 256x256 images. Its training measured
    the scale factor, which is a part of the weights."""
    return LatentDiffusion(
        first_stage=kl_f8(),
        unet=UNet(
            in_channels=4,
            out_channels=4,
            model_channels=192,
            channel_mult=(1, 2, 2, 4, 4),
            num_res_blocks=2,
            attention_levels=(0, 1, 2, 3),
            num_heads=8,
            scale_shift=True,
            resblock_updown=True,
            sample_size=32,
        ),
        text_encoder=NoCondition(),
        conditioning=no_condition,
        scale_factor=torch.ones(()),
        linear_start=0.0015,
        linear_end=0.0155,
        name="lsun_churches",
    )


def toyland(
    vocabulary: str | Path,
    first_stage: AutoencoderKL | None = None,
    model_channels: int = 32,
    **training: Unpack[Training],
) -> LatentDiffusion:
    """Build the small model that the project ships, for 128x128 Toyland images. `vocabulary` is
    assets/toyland/vocab.txt. `first_stage` is a trained `toyland_first_stage`; None builds an untrained one, for
    loading the weights of the whole model. A smaller `model_channels` makes a narrower UNet to train from scratch."""
    return LatentDiffusion(
        first_stage=first_stage or toyland_first_stage(),
        unet=UNet(
            in_channels=4,
            out_channels=4,
            model_channels=model_channels,
            channel_mult=(1, 2, 4, 8),
            num_res_blocks=1,
            attention_levels=(2, 3),
            num_heads=4,
            context_dim=256,
            sample_size=32,
            groups=8,
        ),
        text_encoder=BERTTextEncoder(
            vocabulary, vocab_size=510, width=256, depth=3, heads=4, dim_head=64, max_length=36
        ),
        scale_factor=TOYLAND_SCALE_FACTOR,
        # At the end of the text-to-image schedule, the mean of 32x32 latents still tells the brightness of the image: a
        # sampler that starts from pure noise would ask for a gray one, whatever the prompt says.
        linear_start=0.0015,
        linear_end=0.0195,
        name="toyland",
        **training,
    )


def tiny(vocabulary: str | Path, max_length: int = 36) -> LatentDiffusion:
    """Build a miniature of `toyland` for tests, with 16x16 images and 8x8x4 latents. It has no published weights."""
    return LatentDiffusion(
        first_stage=AutoencoderKL(channels=8, channel_mult=(1, 2), num_res_blocks=1, groups=4),
        unet=nonzero_init(  # an untrained UNet would return zero and ignore the text
            UNet(
                in_channels=4,
                out_channels=4,
                model_channels=16,
                channel_mult=(1, 2),
                num_res_blocks=1,
                attention_levels=(1,),
                num_heads=2,
                context_dim=16,
                sample_size=8,
                groups=4,
            )
        ),
        text_encoder=BERTTextEncoder(
            vocabulary, vocab_size=510, width=16, depth=1, heads=2, dim_head=8, max_length=max_length
        ),
        scale_factor=1.0,
        name="tiny",
    )
