"""Blended Latent Diffusion (Avrahami et al. 2022): a text repaints what lies under a mask, the rest stays as it was."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ldm.images import to_tensor
from ldm.sampling import Denoiser, ddim, ddim_step, falling, guided
from ldm.schedule import q_sample

from .embedding_manager import EmbeddingManager
from .evaluation.subjects import Pipeline


@torch.no_grad()
def blended(
    eps: Denoiser, z_T: Tensor, z_init: Tensor, mask: Tensor, alpha_bar: Tensor, timesteps: Sequence[int]
) -> Tensor:
    """DDIM under the mask [h, w], 1 where the text paints: after every step the rest becomes z_init [b, c, h, w] again,
    noised with z_T as far as the step has come."""
    z = z_T
    for t, a, a_prev in falling(timesteps, alpha_bar):
        z, _ = ddim_step(z, eps(z, torch.full((len(z),), t, device=z.device)), a, a_prev)
        z = mask * z + (1.0 - mask) * q_sample(z_init, z_T, a_prev.expand(len(z)))
    return z


@torch.no_grad()
def edit(
    pipeline: Pipeline, prompts: Sequence[str], embeddings: EmbeddingManager, image: np.ndarray, mask: np.ndarray
) -> Tensor:
    """One edit a prompt of `image`, uint8 [H, W, 3], where `mask`, bool [H, W], is true: [n, 3, H, W] in [-1, 1], on
    the CPU. Outside the mask the pixels are the image's own, and no seam shows where it begins. Raises ValueError for a
    pipeline whose sampler is not DDIM."""
    ldm = pipeline.ldm
    if pipeline.sampler.solve is not ddim:
        raise ValueError(f"edits are blended in steps of DDIM, not of {pipeline.sampler.solve.__name__}: sampler=ddim.")
    x = to_tensor(image[None]).to(ldm.device)
    c = embeddings.encode(ldm.cond_stage_model, prompts)
    eps = guided(ldm.eps, c, ldm.cond_stage_model([ldm.cond_stage_model.unconditional]), pipeline.guidance)
    z_init = ldm.encode_first_stage(x).mean.expand(len(prompts), -1, -1, -1)
    under = torch.from_numpy(mask)[None, None].float().to(ldm.device)
    small = F.adaptive_max_pool2d(under, z_init.shape[-2:])  # what is masked in part is repainted
    timesteps = pipeline.sampler.spacing(pipeline.sampler.steps, len(ldm.alpha_bar))
    z = blended(eps, ldm.noise(pipeline.seed, range(len(prompts))), z_init, small[0, 0], ldm.alpha_bar, timesteps)
    painted = ldm.decode_first_stage(z).clamp(-1.0, 1.0)
    share = feather(under, x.shape[-1] // z_init.shape[-1])
    return torch.where(under > 0, share * painted + (1.0 - share) * x, x).cpu()


def feather(mask: Tensor, width: int) -> Tensor:
    """The mask [1, 1, H, W] as a ramp within it: 1 / width at its edge, 1 from `width` pixels on."""
    smaller = [mask]
    for _ in range(width - 1):
        smaller.append(-F.max_pool2d(-smaller[-1], 3, stride=1, padding=1))
    return torch.stack(smaller).mean(dim=0)
