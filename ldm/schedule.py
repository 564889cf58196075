"""The forward diffusion process (Ho et al. 2020, eq. 4 and 7). Buffers and their names are those of the published
checkpoint."""

import numpy as np
import torch
from torch import Tensor


def scaled_linear_betas(steps: int, start: float, end: float) -> np.ndarray:
    """Return beta_t from `start` to `end`, linear in its square root: float64 [steps]. The published code calls this
    schedule "linear"."""
    return np.linspace(start**0.5, end**0.5, steps, dtype=np.float64) ** 2


def schedule_buffers(betas: np.ndarray) -> dict[str, Tensor]:
    """Return the twelve tables of the published checkpoint, name -> [steps]. They are computed in float64 and stored in
    float32."""
    alphas = 1.0 - betas
    alpha_bar = np.cumprod(alphas)
    alpha_bar_prev = np.append(1.0, alpha_bar[:-1])
    # q(z_{t-1} | z_t, z_0) = N(coef1 * z_0 + coef2 * z_t, variance)
    posterior_variance = betas * (1.0 - alpha_bar_prev) / (1.0 - alpha_bar)
    tables = {
        "betas": betas,
        "alphas_cumprod": alpha_bar,
        "alphas_cumprod_prev": alpha_bar_prev,
        "sqrt_alphas_cumprod": np.sqrt(alpha_bar),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1.0 - alpha_bar),
        "log_one_minus_alphas_cumprod": np.log(1.0 - alpha_bar),
        "sqrt_recip_alphas_cumprod": np.sqrt(1.0 / alpha_bar),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1.0 / alpha_bar - 1.0),
        "posterior_variance": posterior_variance,
        "posterior_log_variance_clipped": np.log(np.maximum(posterior_variance, 1e-20)),
        "posterior_mean_coef1": betas * np.sqrt(alpha_bar_prev) / (1.0 - alpha_bar),
        "posterior_mean_coef2": (1.0 - alpha_bar_prev) * np.sqrt(alphas) / (1.0 - alpha_bar),
    }
    return {name: torch.tensor(table, dtype=torch.float32) for name, table in tables.items()}


# The names of the tables. Files of weights may hold them, rounded; they are computed instead.
TABLES = frozenset(schedule_buffers(scaled_linear_betas(2, 0.1, 0.2)))


def q_sample(z_0: Tensor, eps: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """Return z_t = sqrt(alpha_bar_t) z_0 + sqrt(1 - alpha_bar_t) eps; z_0 and eps [b, c, h, w], alpha_bar_t [b]."""
    alpha_bar_t = alpha_bar_t[:, None, None, None]
    return alpha_bar_t.sqrt() * z_0 + (1.0 - alpha_bar_t).sqrt() * eps


def min_snr_weight(alpha_bar_t: Tensor, gamma: float) -> Tensor:
    """Return the weight of the eps-loss at t, min(SNR, gamma) / SNR with SNR = alpha_bar / (1 - alpha_bar) (Hang et al.
    2023)."""
    snr = alpha_bar_t / (1.0 - alpha_bar_t)
    return snr.clamp(max=gamma) / snr
