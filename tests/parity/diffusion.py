"""Checks of the diffusion process: schedules, samplers, losses."""

from functools import partial

import numpy as np
import torch

from ldm.autoencoder import AutoencoderKL
from ldm.latent_diffusion import LatentDiffusion
from ldm.sampling import (
    Denoiser,
    ancestral,
    conditioned,
    ddim,
    ddim_sigma,
    guided,
    plms,
    published_timesteps,
    quadratic_timesteps,
)
from ldm.schedule import cosine_betas, elbo_weights, linear_betas, q_sample, scaled_linear_betas, schedule_buffers

from .case import Case
from .networks import autoencoder_of, text_encoder_of, unet_of

PUBLISHED = schedule_buffers(scaled_linear_betas(1000, 0.00085, 0.012))
ALPHA_BAR = PUBLISHED["alphas_cumprod"]


def betas_of(call: dict) -> np.ndarray:
    """The original's names: "linear" is linear in the square root, "sqrt_linear" is linear, "sqrt" its square root."""
    steps = call.get("n_timestep") or call["timesteps"]
    ends = call.get("linear_start", 1e-4), call.get("linear_end", 2e-2)
    match call.get("schedule") or call["beta_schedule"]:
        case "linear":
            return scaled_linear_betas(steps, *ends)
        case "sqrt_linear":
            return linear_betas(steps, *ends)
        case "sqrt":
            return np.sqrt(linear_betas(steps, *ends))
        case "cosine":
            return cosine_betas(steps)
    raise ValueError(call)


def beta_schedules(case: Case) -> None:
    case.check(**{f"call_{i}.betas": torch.tensor(betas_of(call)) for i, call in enumerate(case.ctor["calls"])})


def register_schedule(case: Case) -> None:
    """But for the weights of the variational bound when z_0 is predicted, which no model of the paper does."""
    for i, call in enumerate(case.ctor["calls"]):
        buffers = schedule_buffers(betas_of(call), call.get("v_posterior", 0.0))
        if call.get("parameterization", "eps") == "eps":
            case.check(**{f"call_{i}.lvlb_weights": elbo_weights(buffers)})
        case.check(**{f"call_{i}.{name}": table for name, table in buffers.items()})


def _step_tables(timesteps: list[int], alpha_bar: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """alpha_bar at the timesteps and at those before them, in the original's precisions."""
    return alpha_bar[timesteps], alpha_bar[[0, *timesteps[:-1]]].double()


def ddim_schedules(case: Case) -> None:
    choices = {"uniform": published_timesteps, "quad": quadratic_timesteps}
    for i, call in enumerate(case.ctor["calls"]):
        timesteps = choices[call["method"]](call["steps"], call["betas"]["n_timestep"])
        a, a_prev = _step_tables(timesteps, schedule_buffers(betas_of(call["betas"]))["alphas_cumprod"])
        sigmas = {f"call_{i}.eta_{eta:g}.sigmas": ddim_sigma(a.double(), a_prev, eta) for eta in call["etas"]}
        case.check(**sigmas)
        case.check(
            **{
                f"call_{i}.timesteps": torch.tensor(timesteps),
                f"call_{i}.alphas": a,
                f"call_{i}.alphas_prev": a_prev,
            }
        )


def denoiser(case: Case, scale: float) -> Denoiser:
    """That of the entry `ldm_tiny`, for the texts of the case."""
    unet = unet_of(case.ctor["unet"])
    unet.load_state_dict(case.weights("model.diffusion_model."))
    if not case.has_input("uncond"):
        return conditioned(unet.eval(), case.input("context"))
    return guided(unet.eval(), case.input("context"), case.input("uncond"), scale)


def _trajectory(case: Case, sampler) -> None:
    """`sampler(eps, z_T, alpha_bar, timesteps, callback=...)` visits what the original visited."""
    sample = case.ctor["sample"]
    timesteps, z_T = published_timesteps(sample["S"], 1000), case.input("x_T")
    visited, predicted = [z_T], [z_T]

    def look(_: int, z: torch.Tensor, z_0: torch.Tensor) -> None:
        visited.append(z)
        predicted.append(z_0)

    z = sampler(denoiser(case, sample.get("scale", 1.0)), z_T, ALPHA_BAR, timesteps, callback=look)
    case.check(samples=z, x_inter=torch.stack(visited), pred_x0=torch.stack(predicted))
    a, a_prev = _step_tables(timesteps, ALPHA_BAR)
    case.check(timesteps=torch.tensor(timesteps), ddim_alphas=a, ddim_alphas_prev=a_prev)
    case.check(ddim_sqrt_one_minus_alphas=(1.0 - a).sqrt())
    case.check(ddim_sigmas=ddim_sigma(a.double(), a_prev, sample.get("eta", 0.0)))


def ddim_trajectory(case: Case) -> None:
    noise = case.input("noise") if case.has_input("noise") else None
    eta = case.ctor["sample"]["eta"]
    _trajectory(case, partial(ddim, eta=eta, noise=None if noise is None else lambda step: noise[step]))


def plms_trajectory(case: Case) -> None:
    _trajectory(case, plms)


def ddim_encode_decode(case: Case) -> None:
    """Noise a picture up to a DDIM timestep, then go back from there."""
    sample, steps = case.ctor["sample"], case.input("t_enc")
    timesteps = published_timesteps(sample["S"], 1000)
    z_t = q_sample(case.input("x0"), case.input("noise"), ALPHA_BAR[torch.tensor(timesteps)[steps]])
    z = ddim(denoiser(case, sample["scale"]), z_t, ALPHA_BAR, timesteps[: sample["t_start"]])
    case.check(encoded=z_t, decoded=z)


def ancestral_trajectory(case: Case) -> None:
    visited, noise = [case.input("x_T")], case.input("noise")
    z = ancestral(
        denoiser(case, 1.0),
        case.input("x_T"),
        PUBLISHED,
        lambda step: noise[step],
        start=case.ctor["sample"]["start_T"],
        callback=lambda _, z, z_0: visited.append(z),
    )
    case.check(samples=z, intermediates=torch.stack(visited))


def model_of(ctor: dict, first_stage: AutoencoderKL) -> LatentDiffusion:
    return LatentDiffusion(unet_of(ctor["unet"]), first_stage, text_encoder_of(ctor["bert"]))


def whole_model(case: Case) -> None:
    """The state dict of the original fits ours, but for the first stage, of which that model has none."""
    model = model_of(case.ctor, AutoencoderKL(32, (1,)))
    missing, unexpected = model.load_state_dict(case.weights(), strict=False)
    assert not unexpected and all(name.startswith("first_stage_model.") for name in missing)


def first_stage_scaling(case: Case) -> None:
    first_stage = case.loaded(autoencoder_of(case.ctor["first_stage_config"]["params"]))
    model = model_of(case.ctor, first_stage)
    model.scale_factor = case.ctor["scale_factor"]
    z = model.encode_first_stage(case.input("image")).at(case.input("noise"))
    case.check(z=z, decoded=model.decode_first_stage(case.input("z")))
