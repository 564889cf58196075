"""What is around the mask of a blended edit: the pixels of the image itself, or those of a decoder that is fine-tuned
on this one image (Avrahami et al. 2022, section 4.2)."""

import copy
import logging
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ldm.errors import require_positive, require_whole
from ldm.latent_diffusion import LatentDiffusion

log = logging.getLogger(__name__)

# (model, z_0 [n, c, h, w] of the edits, the image x [1, 3, H, W], mask [1, 1, H, W], 1 where it is generated anew)
# -> edits [n, 3, H, W] in [-1, 1]
Background = Callable[[LatentDiffusion, Tensor, Tensor, Tensor], Tensor]


@torch.no_grad()
def keep_pixels(ldm: LatentDiffusion, z_0: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """Paste the decoded edits into the image. Outside of the mask the pixels are those of `x`, and the edge is blended
    within the mask, so that no seam is visible."""
    generated = ldm.decode_first_stage(z_0).clamp(-1.0, 1.0)
    share = feather(mask, x.shape[-1] // z_0.shape[-1])
    return torch.where(mask > 0, share * generated + (1.0 - share) * x, x)


def feather(mask: Tensor, width: int) -> Tensor:
    """Return the mask [1, 1, H, W] with a ramp inside of its edge: 1 / width at the edge, 1 from `width` pixels on."""
    smaller = [mask]
    for _ in range(width - 1):
        smaller.append(-F.max_pool2d(-smaller[-1], 3, stride=1, padding=1))
    return torch.stack(smaller).mean(dim=0)


def fit_decoder(ldm: LatentDiffusion, z_0: Tensor, x: Tensor, mask: Tensor, steps: int, learning_rate: float) -> Tensor:
    """Decode each edit with a copy of the decoder that is fine-tuned for it in `steps` steps of Adam: towards the image
    outside of the mask, and towards the blended edit inside. Nothing is pasted; the background is close to the image,
    not equal. The model itself stays as it is. Logs the PSNR of the background with both decoders."""
    require_whole("background.steps", steps, 1)
    require_positive("background.learning_rate", learning_rate)
    blended = keep_pixels(ldm, z_0, x, mask)
    numbers = tqdm(range(len(z_0)), desc="tuning the decoder", unit="edit", leave=False)
    edits = torch.cat([_decode_towards(ldm, z_0[i : i + 1], blended[i : i + 1], steps, learning_rate) for i in numbers])
    tuned, plain = (float(psnr_under(y, x, 1.0 - mask).mean()) for y in (edits, ldm.decode_first_stage(z_0)))
    log.info("outside of the mask: PSNR %.1f dB; the decoder as it was gives %.1f dB", tuned, plain)
    return edits


def _decode_towards(ldm: LatentDiffusion, z_0: Tensor, target: Tensor, steps: int, learning_rate: float) -> Tensor:
    """Return z_0 [1, c, h, w] as a copy of the decoder decodes it that has been fine-tuned towards `target` [1, 3, H,
    W]."""
    tuned = copy.deepcopy(ldm.first_stage_model).to(z_0.device)
    parameters = [*tuned.decoder.parameters(), *tuned.post_quant_conv.parameters()]
    optimizer = torch.optim.Adam([parameter.requires_grad_(True) for parameter in parameters], lr=learning_rate)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            F.mse_loss(tuned.decode(z_0 / ldm.scale_factor), target).backward()
            optimizer.step()
    with torch.no_grad():
        return tuned.decode(z_0 / ldm.scale_factor).clamp(-1.0, 1.0)


def psnr_under(y: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """Return the PSNR [n] in dB of images y [n, 3, H, W] in [-1, 1] to x, over the pixels where `mask` [1, 1, H, W] is
    1."""
    error = (y.clamp(-1.0, 1.0) - x).square().mean(dim=1, keepdim=True)
    return 10.0 * torch.log10(4.0 * mask.sum() / (mask * error).sum(dim=(1, 2, 3)))
