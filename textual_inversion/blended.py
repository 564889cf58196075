"""Blended Latent Diffusion (Avrahami et al. 2022): generate the part of an image under a mask anew from a prompt, and
keep the rest unchanged."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ldm.errors import UserError
from ldm.images import to_tensor
from ldm.sampling import Denoiser, ddim, ddim_step, falling, guided
from ldm.schedule import q_sample

from .background import Background, keep_pixels
from .embedding_manager import EmbeddingManager
from .evaluation.subjects import Pipeline
from .prompts import encode_prompts


@torch.no_grad()
def blended(
    eps: Denoiser, z_T: Tensor, z_init: Tensor, mask: Tensor, alpha_bar: Tensor, timesteps: Sequence[int]
) -> Tensor:
    """Run DDIM under the mask [h, w], which is 1 where the image is generated anew. After every step, the rest is
    replaced by z_init [b, c, h, w], noised with z_T to the same timestep."""
    z = z_T
    for t, a, a_prev in falling(timesteps, alpha_bar):
        z, _ = ddim_step(z, eps(z, torch.full((len(z),), t, device=z.device)), a, a_prev)
        z = mask * z + (1.0 - mask) * q_sample(z_init, z_T, a_prev.expand(len(z)))
    return z


@torch.no_grad()
def edit(
    pipeline: Pipeline,
    prompts: Sequence[str],
    embeddings: EmbeddingManager,
    image: np.ndarray,
    mask: np.ndarray,
    background: Background = keep_pixels,
) -> Tensor:
    """Edit `image`, uint8 [H, W, 3], where `mask`, bool [H, W], is True, once per prompt. Returns [n, 3, H, W] in
    [-1, 1], on the CPU. `background` decodes the edits and decides what the pixels outside of the mask are. Raises
    UserError if the sampler of the pipeline is not DDIM."""
    ldm = pipeline.ldm
    if pipeline.sampler.solve is not ddim:
        raise UserError(f"blended edits need DDIM, not {pipeline.sampler.name}: use sampler=ddim.")
    x = to_tensor(image[None]).to(ldm.device)
    c = encode_prompts(ldm.text_encoder, prompts, embeddings)
    eps = guided(ldm.denoiser(), c, ldm.text_encoder([ldm.text_encoder.unconditional]), pipeline.guidance)
    z_init = ldm.encode_first_stage(x).mean.expand(len(prompts), -1, -1, -1)
    under = torch.from_numpy(mask)[None, None].float().to(ldm.device)
    small = F.adaptive_max_pool2d(under, z_init.shape[-2:])  # every latent that the mask touches is generated anew
    timesteps = pipeline.sampler.timesteps(len(ldm.alpha_bar))
    z = blended(eps, ldm.noise(pipeline.seed, range(len(prompts))), z_init, small[0, 0], ldm.alpha_bar, timesteps)
    return background(ldm, z, x, under).cpu()
