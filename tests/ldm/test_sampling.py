"""Samplers with Gaussian data, where the optimal denoiser is known in closed form, and guidance as algebra."""

from functools import partial

import pytest
import torch
from torch import Tensor

from ldm.sampling import (
    Sampler,
    ancestral,
    conditioned,
    ddim,
    ddim_invert,
    ddim_timesteps,
    dpm_solver,
    every_timestep,
    guided,
    plms,
    trailing_timesteps,
)
from ldm.schedule import scaled_linear_betas, schedule_buffers

ALPHA_BAR = schedule_buffers(scaled_linear_betas(1000, 0.00085, 0.012))["alphas_cumprod"].double()
MU = 0.7


def noise(n: int = 3) -> Tensor:
    return torch.randn(n, 4, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def spread(a: Tensor, sigma: float) -> Tensor:
    """Return the standard deviation of z_t for z_0 ~ N(MU, sigma^2)."""
    return (a * sigma**2 + 1 - a).sqrt()


def gaussian(sigma: float):
    """Return the optimal denoiser for z_0 ~ N(MU, sigma^2)."""

    def eps(z_t: Tensor, t: Tensor) -> Tensor:
        a = ALPHA_BAR[t][:, None, None, None]
        return (1 - a).sqrt() * (z_t - a.sqrt() * MU) / spread(a, sigma) ** 2

    return eps


def toy_unet(z_t: Tensor, t: Tensor, c: Tensor) -> Tensor:
    return z_t.tanh() * c.mean(dim=(1, 2))[:, None, None, None] + 0.001 * t[:, None, None, None]


def texts() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(3, 5, 6, generator=rng, dtype=torch.float64), torch.randn(1, 5, 6, generator=rng).double()


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30, 50, 999, 1000])
def test_exactly_as_many_evaluations_as_asked_at_falling_timesteps(steps):
    asked = []

    def eps(z_t: Tensor, t: Tensor) -> Tensor:
        asked.append(t.tolist())
        return torch.zeros_like(z_t)

    ddim(eps, noise(2), ALPHA_BAR, ddim_timesteps(steps, 1000))
    assert len(asked) == steps
    assert all(len(set(t)) == 1 and len(t) == 2 for t in asked)
    first = [t[0] for t in asked]
    assert first == sorted(first, reverse=True) and 0 < first[-1] <= first[0] < 1000


@pytest.mark.parametrize("steps", [1, 2, 10, 50, 200, 500])
def test_counts_that_divide_the_schedule_give_the_published_timesteps(steps):
    assert ddim_timesteps(steps, 1000) == [t + 1 for t in range(0, 1000, 1000 // steps)]


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_a_wrong_number_of_steps_is_named(steps):
    with pytest.raises(ValueError, match=f"{steps} sampling steps"):
        ddim(gaussian(1.0), noise(), ALPHA_BAR, ddim_timesteps(steps, 1000))


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_a_world_of_one_picture_is_found_at_every_step(steps):
    seen = []
    ddim(gaussian(0.0), noise(), ALPHA_BAR, ddim_timesteps(steps, 1000), callback=lambda done, z, z_0: seen.append(z_0))
    for z_0 in seen:
        torch.testing.assert_close(z_0, torch.full_like(z_0, MU))


def test_noise_becomes_a_draw_from_the_world():
    """The probability-flow path preserves (z_t - sqrt(a) mu) / std(z_t) and ends at alpha_bar_0. DDIM is first
    order."""
    sigma, z_T = 0.5, noise()

    def error(steps: int) -> float:
        a_T, a_0 = ALPHA_BAR[ddim_timesteps(steps, 1000)[-1]], ALPHA_BAR[0]
        standard = (z_T - a_T.sqrt() * MU) / spread(a_T, sigma)
        exact = a_0.sqrt() * MU + spread(a_0, sigma) * standard
        return float((ddim(gaussian(sigma), z_T, ALPHA_BAR, ddim_timesteps(steps, 1000)) - exact).abs().max())

    assert error(500) < 0.01
    assert error(250) < 0.6 * error(125)


def distance_to_the_exact_path(sampler: Sampler, sigma: float = 1.0) -> float:
    """The probability-flow path preserves (z_t - sqrt(a) mu) / std(z_t) and ends at alpha_bar_0."""
    z_T, a_0 = noise(), ALPHA_BAR[0]
    a_T = ALPHA_BAR[sampler.spacing(sampler.steps, 1000)[-1]]
    exact = a_0.sqrt() * MU + spread(a_0, sigma) * (z_T - a_T.sqrt() * MU) / spread(a_T, sigma)
    return float((sampler(gaussian(sigma), z_T, ALPHA_BAR) - exact).abs().max())


def test_a_solver_of_second_order_needs_few_steps():
    of_dpm = {n: distance_to_the_exact_path(Sampler(n, dpm_solver, trailing_timesteps)) for n in (15, 30)}
    of_ddim = {n: distance_to_the_exact_path(Sampler(n, ddim, trailing_timesteps)) for n in (15, 50)}
    assert of_dpm[30] < 0.5 * of_dpm[15]
    assert of_dpm[15] < of_ddim[50] < of_ddim[15]


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of diffusers, with numpy 2
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
def test_dpm_solver_is_that_of_diffusers(steps):
    from diffusers import DPMSolverMultistepScheduler

    theirs = DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        final_sigmas_type="sigma_min",
        euler_at_final=True,
    )
    theirs.set_timesteps(steps)
    z, c = noise().float(), texts()[0].float()
    assert theirs.timesteps.tolist() == trailing_timesteps(steps, 1000)[::-1]
    for t in theirs.timesteps:
        z = theirs.step(toy_unet(z, t.expand(len(z)), c), t, z).prev_sample
    ours = Sampler(steps, dpm_solver, trailing_timesteps)(conditioned(toy_unet, c), noise().float(), ALPHA_BAR.float())
    torch.testing.assert_close(ours, z, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("solve", [ddim, plms, dpm_solver, ancestral])
def test_a_sampler_reports_every_step_of_its_solver(solve):
    seen = []
    z = solve(
        gaussian(0.5), noise(), ALPHA_BAR, [1, 400, 800], fresh, callback=lambda done, z, z_0: seen.append((done, z))
    )
    assert [done for done, _ in seen] == [1, 2, 3] and torch.equal(seen[-1][1], z)


@pytest.mark.parametrize("steps", [0, 1000])
def test_trailing_timesteps_end_at_the_last_one(steps):
    assert trailing_timesteps(3, 1000) == [333, 666, 999] and trailing_timesteps(999, 1000) == list(range(1, 1000))
    with pytest.raises(ValueError, match=f"{steps} sampling steps"):
        trailing_timesteps(steps, 1000)


def test_no_gradient_is_kept_and_the_noise_is_not_touched():
    z_T = noise().requires_grad_()
    before = z_T.detach().clone()
    assert not ddim(gaussian(0.5), z_T, ALPHA_BAR, ddim_timesteps(4, 1000)).requires_grad
    assert torch.equal(z_T, before)


def test_guidance_of_one_is_plain_conditioning():
    (c, uncond), z_t, t = texts(), noise(), torch.tensor([1, 500, 999])
    evaluated = []

    def unet(z: Tensor, t: Tensor, c: Tensor) -> Tensor:
        evaluated.append(len(z))
        return toy_unet(z, t, c)

    torch.testing.assert_close(guided(unet, c, uncond, 1.0)(z_t, t), conditioned(toy_unet, c)(z_t, t))
    assert evaluated == [3]


def test_guidance_is_linear_in_its_scale():
    (c, uncond), z_t, t = texts(), noise(), torch.tensor([1, 500, 999])
    eps_u = conditioned(toy_unet, uncond.expand_as(c))(z_t, t)
    eps_c = conditioned(toy_unet, c)(z_t, t)
    for scale in (0.0, 0.5, 1.0, 3.0, -2.0):
        expected = (1 - scale) * eps_u + scale * eps_c
        torch.testing.assert_close(guided(toy_unet, c, uncond, scale)(z_t, t), expected)


STOCHASTIC = [Sampler(300, ancestral, every_timestep), Sampler(200, partial(ddim, eta=1.0))]


def fresh(step: int, n: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(step + 1)
    return torch.randn(n, 4, 2, 2, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("sampler", STOCHASTIC)
def test_what_adds_noise_in_every_step_still_draws_from_the_world(sampler):
    z = sampler(gaussian(0.5), noise(4000), ALPHA_BAR, partial(fresh, n=4000))
    assert float(z.mean()) == pytest.approx(MU, abs=0.02) and float(z.std()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("sampler", STOCHASTIC)
def test_noise_changes_the_picture_and_must_be_given(sampler):
    one, other = (sampler(gaussian(0.5), noise(), ALPHA_BAR, n) for n in (fresh, lambda step: fresh(step + 999)))
    assert (one - other).abs().max() > 0.1
    with pytest.raises(ValueError, match="adds noise in every step"):
        sampler(gaussian(0.5), noise(), ALPHA_BAR)


def test_ancestral_steps_are_those_of_the_schedule_s_tables():
    tables = schedule_buffers(scaled_linear_betas(1000, 0.00085, 0.012))
    z, t = noise(), 600
    seen = []
    ancestral(gaussian(0.5), z, ALPHA_BAR, every_timestep(1000, 1000)[: t + 1], fresh,
              callback=lambda done, z, z_0: seen.append((z, z_0)))  # fmt: skip
    z_1, z_0 = seen[0]
    mean = tables["posterior_mean_coef1"][t] * z_0 + tables["posterior_mean_coef2"][t] * z
    expected = mean + (0.5 * tables["posterior_log_variance_clipped"][t]).exp() * fresh(0)
    torch.testing.assert_close(z_1, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [2, 7, 250, 1000])
def test_evenly_spaced_timesteps_reach_from_the_first_to_the_last(steps):
    timesteps = every_timestep(steps, 1000)
    assert (len(set(timesteps)), timesteps[0], timesteps[-1]) == (steps, 0, 999)
    assert steps < 1000 or timesteps == list(range(1000))


@pytest.mark.parametrize("steps", [1, 1001])
def test_evenly_spaced_timesteps_of_a_wrong_number_are_named(steps):
    with pytest.raises(ValueError, match=f"{steps} sampling steps"):
        every_timestep(steps, 1000)


def test_a_sampler_says_what_it_is():
    assert [Sampler(2).name, Sampler(2, partial(ddim, eta=0.5)).name] == ["ddim", "ddim, eta 0.5"]


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_from_the_inverted_noise_ddim_comes_back_the_closer_the_finer_its_steps(sigma):
    z_0 = MU + sigma * noise()

    def error(steps: int) -> float:
        timesteps, eps = ddim_timesteps(steps, 1000), gaussian(sigma)
        z_T = ddim_invert(eps, z_0, ALPHA_BAR, timesteps)
        return float((ddim(eps, z_T, ALPHA_BAR, timesteps) - z_0).abs().max())

    coarse, finer, finest = (error(steps) for steps in (50, 100, 500))
    assert finer < 0.7 * coarse and finest < 0.3 * finer and finest < 0.02


def test_inversion_follows_the_exact_path_to_the_noise():
    """The probability-flow path preserves (z_t - sqrt(a) mu) / std(z_t) and starts at alpha_bar_0."""
    sigma, timesteps = 0.5, ddim_timesteps(500, 1000)
    a_0, a_T = ALPHA_BAR[0], ALPHA_BAR[timesteps[-1]]
    z_0 = a_0.sqrt() * MU + spread(a_0, sigma) * noise()
    exact = a_T.sqrt() * MU + spread(a_T, sigma) * noise()
    torch.testing.assert_close(ddim_invert(gaussian(sigma), z_0, ALPHA_BAR, timesteps), exact, atol=0.02, rtol=0)


@pytest.mark.parametrize("steps", [2, 7, 50])
def test_what_does_not_look_at_the_picture_is_inverted_exactly(steps):
    def eps(z_t: Tensor, t: Tensor) -> Tensor:
        return (t[:, None, None, None] / 100.0).sin().expand_as(z_t)

    timesteps = ddim_timesteps(steps, 1000)
    z_T = ddim_invert(eps, noise(), ALPHA_BAR, timesteps)
    assert not torch.allclose(z_T, noise(), atol=0.1)
    torch.testing.assert_close(ddim(eps, z_T, ALPHA_BAR, timesteps), noise())


def test_inversion_asks_at_rising_timesteps_and_keeps_no_gradient():
    asked, timesteps = [], ddim_timesteps(6, 1000)

    def eps(z_t: Tensor, t: Tensor) -> Tensor:
        asked.append(t.tolist())
        return gaussian(0.5)(z_t, t)

    z_0 = noise(2).requires_grad_()
    assert not ddim_invert(eps, z_0, ALPHA_BAR, timesteps).requires_grad
    assert asked == [[t, t] for t in timesteps]
    assert torch.equal(z_0, noise(2))
