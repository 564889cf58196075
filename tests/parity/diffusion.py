"""Checks of the diffusion process: schedules, samplers, losses."""

import math
from functools import partial

import numpy as np
import torch

from ldm.latent_diffusion import LatentDiffusion
from ldm.modules.autoencoder import AutoencoderKL, DiagonalGaussian
from ldm.sampling import (
    Denoiser,
    ancestral,
    conditioned,
    ddim,
    ddim_sigma,
    every_timestep,
    guided,
    plms,
    published_timesteps,
    quadratic_timesteps,
)
from ldm.schedule import q_sample, scaled_linear_betas, schedule_buffers
from tests.parity import published
from tests.parity.case import Case
from tests.parity.networks import autoencoder_of, text_encoder_of, unet_of
from textual_inversion.setups import RegularizedPublished

PUBLISHED = schedule_buffers(scaled_linear_betas(1000, 0.00085, 0.012))
ALPHA_BAR = PUBLISHED["alphas_cumprod"]


def betas_of(call: dict) -> np.ndarray:
    """The names of the original: "linear" is linear in the square root, "sqrt_linear" is linear, "sqrt" its square
    root."""
    steps = call.get("n_timestep") or call["timesteps"]
    ends = call.get("linear_start", 1e-4), call.get("linear_end", 2e-2)
    match call.get("schedule") or call["beta_schedule"]:
        case "linear":
            return scaled_linear_betas(steps, *ends)
        case "sqrt_linear":
            return published.linear_betas(steps, *ends)
        case "sqrt":
            return np.sqrt(published.linear_betas(steps, *ends))
        case "cosine":
            return published.cosine_betas(steps)
    raise ValueError(call)


def beta_schedules(case: Case) -> None:
    case.check(**{f"call_{i}.betas": torch.tensor(betas_of(call)) for i, call in enumerate(case.ctor["calls"])})


def z_0_weights(alpha_bar: torch.Tensor) -> torch.Tensor:
    """The weights of the variational bound in the original if z_0 is predicted, which no model of the paper does."""
    weights = 0.5 * alpha_bar.sqrt() / (2.0 - alpha_bar)
    return torch.cat([weights[1:2], weights[1:]])


def register_schedule(case: Case) -> None:
    for i, call in enumerate(case.ctor["calls"]):
        buffers = published.interpolate_variance(schedule_buffers(betas_of(call)), call.get("v_posterior", 0.0))
        of_z_0 = call.get("parameterization") == "x0"
        weights = z_0_weights(buffers["alphas_cumprod"]) if of_z_0 else published.elbo_weights(buffers)
        case.check(**{f"call_{i}.lvlb_weights": weights})
        case.check(**{f"call_{i}.{name}": table for name, table in buffers.items()})


def _step_tables(timesteps: list[int], alpha_bar: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return alpha_bar at the timesteps and at the ones before them, in the precisions of the original."""
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
    """Build the model of the entry `ldm_tiny`, for the texts of the case."""
    unet = unet_of(case.ctor["unet"])
    unet.load_state_dict(case.weights("model.diffusion_model."))
    if not case.has_input("uncond"):
        return conditioned(unet.eval(), case.input("context"))
    return guided(unet.eval(), case.input("context"), case.input("uncond"), scale)


def _trajectory(case: Case, sampler) -> None:
    """Check that `sampler(eps, z_T, alpha_bar, timesteps, callback=...)` visits the states of the original."""
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
    """Noise an image up to a DDIM timestep, then denoise it from there."""
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
        ALPHA_BAR,
        every_timestep(1000, 1000)[: case.ctor["sample"]["start_T"]],
        lambda step: noise[step],
        callback=lambda _, z, z_0: visited.append(z),
    )
    case.check(samples=z, intermediates=torch.stack(visited))


def model_of(ctor: dict, first_stage: AutoencoderKL) -> LatentDiffusion:
    return LatentDiffusion(unet_of(ctor["unet"]), first_stage, text_encoder_of(ctor["bert"]))


def whole_model(case: Case) -> None:
    """The state dict of the original fits ours, except for the first stage, which that model does not have."""
    model = model_of(case.ctor, AutoencoderKL(32, (1,)))
    missing, unexpected = model.load_state_dict(case.weights(), strict=False)
    assert not unexpected and all(name.startswith("first_stage_model.") for name in missing)


def first_stage_scaling(case: Case) -> None:
    first_stage = case.loaded(autoencoder_of(case.ctor["first_stage_config"]["params"]))
    model = model_of(case.ctor, first_stage)
    model.scale_factor = case.ctor["scale_factor"]
    z = model.encode_first_stage(case.input("image")).at(case.input("noise"))
    case.check(z=z, decoded=model.decode_first_stage(case.input("z")))


def q_and_losses(case: Case) -> None:
    """The forward process, its posterior, and the loss in its variants."""
    x, eps, t = case.input("x_start"), case.input("noise"), case.input("t")
    table = {name: values[t][:, None, None, None] for name, values in PUBLISHED.items()}
    z_t = q_sample(x, eps, ALPHA_BAR[t])
    forward = DiagonalGaussian(table["sqrt_alphas_cumprod"] * x, table["log_one_minus_alphas_cumprod"])
    case.check(
        **{
            "q_sample": z_t,
            "q_mean_variance.mean": forward.mean,
            "q_mean_variance.log_variance": forward.logvar,
            "q_mean_variance.variance": 1.0 - table["alphas_cumprod"],
            # The original was called with eps in the place of z_t.
            "q_posterior.mean": table["posterior_mean_coef1"] * x + table["posterior_mean_coef2"] * eps,
            "q_posterior.variance": table["posterior_variance"],
            "q_posterior.log_variance_clipped": table["posterior_log_variance_clipped"],
        }
    )
    a, root = table["sqrt_recip_alphas_cumprod"], table["sqrt_recipm1_alphas_cumprod"]
    case.check(predict_start_from_noise=a * x - root * eps, predict_eps_from_xstart=(a * eps - x) / root)
    last = torch.full_like(x, float(PUBLISHED["log_one_minus_alphas_cumprod"][-1]))
    prior = DiagonalGaussian(PUBLISHED["sqrt_alphas_cumprod"][-1] * x, last)
    case.check(prior_bpd=prior.kl() / x[0].numel() / math.log(2.0))

    model = model_of(case.ctor, AutoencoderKL(32, (1,))).eval()
    model.load_state_dict(case.weights(), strict=False)
    c = case.input("context")
    predicted = model.unet(z_t, t, c)
    case.check(apply_model=predicted)
    torch.testing.assert_close(model.losses(x, c, t, eps), (predicted - eps).square().mean(dim=(1, 2, 3)))
    start = model.cond_stage_model.embed(torch.tensor([case.ctor["bert"]["words"]["sculpture"]]))
    penalty = RegularizedPublished(1.0).penalty(case.input("vector.*"), start)
    for i, variant in enumerate(case.ctor["loss_variants"]):
        of_z_0 = variant.get("parameterization") == "x0"
        error = predicted - (x if of_z_0 else eps)
        losses = (error.abs() if variant.get("loss_type") == "l1" else error.square()).mean(dim=(1, 2, 3))
        weights = z_0_weights(ALPHA_BAR) if of_z_0 else published.elbo_weights(PUBLISHED)
        bound = (weights[t] * losses).mean()
        logvar = case.input("logvar")[t] if variant.get("use_logvar") else torch.zeros(len(t))
        learned = (losses / logvar.exp() + logvar).mean()
        loss = variant.get("l_simple_weight", 1.0) * learned + variant.get("original_elbo_weight", 0.0) * bound
        loss = loss + variant.get("embedding_reg_weight", 0.0) * penalty
        mode = "train" if variant.get("training") else "val"
        of_variant = {"loss": loss, f"dict.{mode}/loss_simple": losses.mean(), f"dict.{mode}/loss_vlb": bound}
        if "embedding_reg_weight" in variant:
            of_variant[f"dict.{mode}/loss_emb_reg"] = penalty
        case.check(**{f"variant_{i}.{name}": value for name, value in of_variant.items()})
