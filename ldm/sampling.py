"""Samplers as functions over a denoiser eps(z_t, t): DDIM (Song et al. 2021) and classifier-free guidance as a
wrapper."""

from collections.abc import Callable

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (z_t [b, c, h, w], t [b]) -> eps [b, c, h, w]
Callback = Callable[[int, Tensor, Tensor], None]  # (steps done, z_t, predicted z_0)


def conditioned(unet: Callable[[Tensor, Tensor, Tensor], Tensor], c: Tensor) -> Denoiser:
    """eps(z_t, t, c) with the text c [b, m, d] fixed."""
    return lambda z_t, t: unet(z_t, t, c)


def guided(unet: Callable[[Tensor, Tensor, Tensor], Tensor], c: Tensor, uncond: Tensor, scale: float) -> Denoiser:
    """Classifier-free guidance (Ho & Salimans 2022): eps_u + scale (eps_c - eps_u), both in one batch.
    c [b, m, d] is the text, `uncond` [1, m, d] the empty text; a scale of 1 is plain conditioning and costs half."""
    if scale == 1.0:
        return conditioned(unet, c)
    both = torch.cat([uncond.expand_as(c), c])

    def eps(z_t: Tensor, t: Tensor) -> Tensor:
        eps_u, eps_c = unet(torch.cat([z_t, z_t]), torch.cat([t, t]), both).chunk(2)
        return eps_u + scale * (eps_c - eps_u)

    return eps


def ddim_timesteps(steps: int, total: int) -> list[int]:
    """Evenly spaced over the `total` training timesteps, ascending from 1, exactly `steps` of them.

    The published code rounds the spacing down, takes more steps where `steps` does not divide `total`, and fails for
    some counts; where it does divide, the timesteps are the same."""
    if not 1 <= steps <= total:
        raise ValueError(f"{steps} sampling steps: choose 1 to {total}")
    return [min(i * total // steps + 1, total - 1) for i in range(steps)]


@torch.no_grad()
def ddim(eps: Denoiser, z_T: Tensor, alpha_bar: Tensor, steps: int, callback: Callback | None = None) -> Tensor:
    """Deterministic DDIM (eta = 0): noise z_T [b, c, h, w] -> z_0, in `steps` evaluations of eps.

    alpha_bar [T] is the schedule's. As published, the last step ends at alpha_bar_0 rather than at 1.
    """
    timesteps = ddim_timesteps(steps, len(alpha_bar))
    z = z_T
    for done, i in enumerate(reversed(range(steps)), start=1):
        a, a_prev = alpha_bar[timesteps[i]], alpha_bar[timesteps[i - 1] if i else 0]
        e = eps(z, torch.full((len(z),), timesteps[i], device=z.device))
        # eq. 12: z_{t-1} = sqrt(a_prev) * predicted z_0 + sqrt(1 - a_prev) * eps
        z_0 = (z - (1.0 - a).sqrt() * e) / a.sqrt()
        z = a_prev.sqrt() * z_0 + (1.0 - a_prev).sqrt() * e
        if callback is not None:
            callback(done, z, z_0)
    return z
