"""Samplers as functions of a denoiser eps(z_t, t): DDIM (Song et al. 2021), PLMS (Liu et al. 2022), DPM-Solver++ (Lu
et al. 2022) and ancestral sampling (Ho et al. 2020). Classifier-free guidance wraps the denoiser.

Written by hand, since the schedulers of diffusers keep a run's state in themselves and draw noise for a whole batch
from one generator. Here an image does not depend on its batch. The tests compare with the published code and with
diffusers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from .errors import UserError, require_whole

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (z_t [b, c, h, w], t [b]) -> eps [b, c, h, w]
Callback = Callable[[int, Tensor, Tensor], None]  # (steps done, z_t, predicted z_0)
Noise = Callable[[int], Tensor]  # steps done -> fresh noise, shaped like z_T
# The encoded texts c, or a function from the timestep t [1] to them: some words change with time.
Condition = Tensor | Callable[[Tensor], Tensor]
# (eps, z_T, alpha_bar [T], ascending timesteps, noise, callback) -> z_0. Deterministic solvers ignore `noise`.
Solver = Callable[..., Tensor]


def at(c: Condition, t: Tensor) -> Tensor:
    """Return c at the timestep in t [b], where all entries are the same."""
    return c if isinstance(c, Tensor) else c(t[:1])


def conditioned(unet: Callable[[Tensor, Tensor, Tensor], Tensor], c: Condition) -> Denoiser:
    """Return the denoiser eps(z_t, t, c) with the text c, [b, m, d] or [b, layers, m, d], or the same one for all
    samples, [1, ...]."""

    def eps(z_t: Tensor, t: Tensor) -> Tensor:
        now = at(c, t)
        # The same tensor in every step where it can be: then the UNet's layers project it only once.
        return unet(z_t, t, now if len(now) == len(z_t) else now.expand(len(z_t), *now.shape[1:]))

    return eps


def guided(unet: Callable[[Tensor, Tensor, Tensor], Tensor], c: Condition, uncond: Condition, scale: float) -> Denoiser:
    """Return a denoiser with classifier-free guidance (Ho & Salimans 2022): eps_u + scale (eps_c - eps_u), both
    computed in one batch. c [b, m, d] is the text, `uncond` [1, m, d] the empty text; each may have one text per layer,
    [b, layers, m, d]. A scale of 1 is plain conditioning, at half the cost."""
    if scale == 1.0:
        return conditioned(unet, c)

    def pair(c: Tensor, uncond: Tensor) -> Tensor:
        return torch.cat([uncond.expand_as(c), c])

    # One tensor for all steps, if time changes neither text: then the UNet's layers project it only once.
    constant = pair(c, uncond) if isinstance(c, Tensor) and isinstance(uncond, Tensor) else None

    def eps(z_t: Tensor, t: Tensor) -> Tensor:
        both = pair(at(c, t), at(uncond, t)) if constant is None else constant
        eps_u, eps_c = unet(torch.cat([z_t, z_t]), torch.cat([t, t]), both).chunk(2)
        return eps_u + scale * (eps_c - eps_u)

    return eps


def ddim_timesteps(steps: int, total: int) -> list[int]:
    """Return exactly `steps` of the `total` training timesteps, evenly spaced and ascending from 1. If `steps` divides
    `total`, they equal `published_timesteps`."""
    if not 1 <= steps <= total:
        raise UserError(f"{steps} sampling steps: choose 1 to {total}")
    return [min(i * total // steps + 1, total - 1) for i in range(steps)]


def published_timesteps(steps: int, total: int) -> list[int]:
    """Return the timesteps of the published code, which rounds the spacing down. If `steps` does not divide `total`,
    there are more than `steps` of them. For some counts, such as 3 or 300 of 1000, they run past the end of the
    schedule; this raises ValueError."""
    timesteps = [t + 1 for t in range(0, total, total // steps)]
    if timesteps[-1] >= total:
        raise UserError(f"{steps} sampling steps of {total} run past the end of the schedule, to {timesteps[-1]}")
    return timesteps


def quadratic_timesteps(steps: int, total: int) -> list[int]:
    """Return the quadratic spacing of the published code, denser at small t: squares up to 0.8 `total`. The first two
    timesteps coincide."""
    return [int(i) + 1 for i in torch.linspace(0, (0.8 * total) ** 0.5, steps, dtype=torch.float64).square()]


def trailing_timesteps(steps: int, total: int) -> list[int]:
    """Return evenly spaced timesteps that end at the last one, where z_T is pure noise. Useful with few steps."""
    if not 1 <= steps < total:
        raise UserError(f"{steps} sampling steps: choose 1 to {total - 1}")
    return [round(i * (total - 1) / steps) for i in range(1, steps + 1)]


def every_timestep(steps: int, total: int) -> list[int]:
    """Return evenly spaced timesteps from the first to the last (Nichol & Dhariwal 2021, section 4). If `steps` equals
    `total`, these are all timesteps."""
    if not 2 <= steps <= total:
        raise UserError(f"{steps} sampling steps: choose 2 to {total}")
    return [round(i * (total - 1) / (steps - 1)) for i in range(steps)]


def ddim_sigma(a: Tensor, a_prev: Tensor, eta: float) -> Tensor:
    """Return the standard deviation of the noise added in a step (Song et al. 2021, eq. 16). eta = 0 adds none; eta = 1
    is ancestral sampling."""
    return eta * ((1.0 - a_prev) / (1.0 - a) * (1.0 - a / a_prev)).sqrt()


def ddim_step(z: Tensor, e: Tensor, a: Tensor, a_prev: Tensor, sigma: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """Take one DDIM step (Song et al. 2021, eq. 12) without the random noise: from z_t and its eps, return z_{t-1} and
    the predicted z_0."""
    z_0 = (z - (1.0 - a).sqrt() * e) / a.sqrt()
    return a_prev.sqrt() * z_0 + (1.0 - a_prev - sigma**2).sqrt() * e, z_0


def falling(timesteps: Sequence[int], alpha_bar: Tensor) -> list[tuple[int, Tensor, Tensor]]:
    """Return (t, alpha_bar_t, alpha_bar at the next t) for every step, from the noisiest. As in the published code, the
    last step ends at alpha_bar_0, not at 1."""
    ends = [0, *timesteps[:-1]]
    return [(t, alpha_bar[t], alpha_bar[end]) for t, end in zip(reversed(timesteps), reversed(ends), strict=True)]


def _require(noise: Noise | None) -> Noise:
    """Return `noise`. Raises ValueError if it is None."""
    if noise is None:
        raise ValueError("this sampler adds noise in every step: pass `noise`")
    return noise


@torch.no_grad()
def ddim(
    eps: Denoiser,
    z_T: Tensor,
    alpha_bar: Tensor,
    timesteps: Sequence[int],
    noise: Noise | None = None,
    callback: Callback | None = None,
    eta: float = 0.0,
) -> Tensor:
    """DDIM: denoise z_T [b, c, h, w] to z_0 with one evaluation of eps for each of the ascending `timesteps`.

    alpha_bar [T] is the noise schedule. eta = 0 is deterministic; a larger eta adds `noise` in every step. To start
    from a partly noised image, pass only the timesteps up to its own."""
    z = z_T
    for done, (t, a, a_prev) in enumerate(falling(timesteps, alpha_bar), start=1):
        sigma = ddim_sigma(a, a_prev, eta)
        z, z_0 = ddim_step(z, eps(z, torch.full((len(z),), t, device=z.device)), a, a_prev, sigma)
        if eta:
            z = z + sigma * _require(noise)(done - 1)
        if callback is not None:
            callback(done, z, z_0)
    return z


@torch.no_grad()
def ddim_invert(eps: Denoiser, z_0: Tensor, alpha_bar: Tensor, timesteps: Sequence[int]) -> Tensor:
    """DDIM inversion (Song et al. 2021, section 4.3; Dhariwal & Nichol 2021, appendix F): return the noise z_T from
    which `ddim`, with the same eps and timesteps, reproduces z_0 [b, c, h, w]. Each step approximates the eps at its
    end by the eps at its start, so more steps reproduce z_0 more closely."""
    z = z_0
    for t, a, a_prev in reversed(falling(timesteps, alpha_bar)):
        z, _ = ddim_step(z, eps(z, torch.full((len(z),), t, device=z.device)), a_prev, a)
    return z


@torch.no_grad()
def plms(
    eps: Denoiser,
    z_T: Tensor,
    alpha_bar: Tensor,
    timesteps: Sequence[int],
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Pseudo linear multistep (Liu et al. 2022, eq. 12): DDIM steps along a linear combination of the last four eps.
    Each step evaluates eps once, the first one twice."""
    z, past = z_T, []
    steps = falling(timesteps, alpha_bar)
    for done, (t, a, a_prev) in enumerate(steps, start=1):
        e = eps(z, torch.full((len(z),), t, device=z.device))
        if not past:  # Heun's method: the mean of eps here and after a trial step
            t_next = steps[min(done, len(steps) - 1)][0]
            ahead, _ = ddim_step(z, e, a, a_prev)
            slope = (e + eps(ahead, torch.full((len(z),), t_next, device=z.device))) / 2.0
        elif len(past) == 1:
            slope = (3.0 * e - past[-1]) / 2.0
        elif len(past) == 2:
            slope = (23.0 * e - 16.0 * past[-1] + 5.0 * past[-2]) / 12.0
        else:
            slope = (55.0 * e - 59.0 * past[-1] + 37.0 * past[-2] - 9.0 * past[-3]) / 24.0
        past = [*past[-2:], e]
        z, z_0 = ddim_step(z, slope, a, a_prev)
        if callback is not None:
            callback(done, z, z_0)
    return z


@torch.no_grad()
def dpm_solver(
    eps: Denoiser,
    z_T: Tensor,
    alpha_bar: Tensor,
    timesteps: Sequence[int],
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): second order in the predicted z_0, with one evaluation of eps per
    step. The first and the last step are first-order DDIM steps; for the last one, this matters when steps are few."""
    z, before = z_T, None
    for done, (t, a, a_prev) in enumerate(falling(timesteps, alpha_bar), start=1):
        z_0 = (z - (1.0 - a).sqrt() * eps(z, torch.full((len(z),), t, device=z.device))) / a.sqrt()
        h = 0.5 * (a_prev.logit() - a.logit())  # the step in lambda = log(sqrt(alpha_bar) / sigma)
        ahead = z_0
        if before is not None and done < len(timesteps):
            z_0_before, h_before = before
            ahead = z_0 + h / (2.0 * h_before) * (z_0 - z_0_before)
        before = z_0, h
        z = ((1.0 - a_prev) / (1.0 - a)).sqrt() * z - a_prev.sqrt() * torch.expm1(-h) * ahead
        if callback is not None:
            callback(done, z, z_0)
    return z


@torch.no_grad()
def ancestral(
    eps: Denoiser,
    z_T: Tensor,
    alpha_bar: Tensor,
    timesteps: Sequence[int],
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Draw z_{t-1} ~ p(z_{t-1} | z_t) in every step (Ho et al. 2020, algorithm 2, with the smaller variance of section
    3.2). Here t - 1 is the next of `timesteps` (Nichol & Dhariwal 2021, section 4). The last step returns z_0."""
    z, a_bar = z_T, alpha_bar.double()  # 1 - alpha_bar_t / alpha_bar_{t-1} is small
    ends = [a_bar.new_ones(()), *(a_bar[t] for t in timesteps[:-1])]
    for done, (t, a_prev) in enumerate(zip(reversed(timesteps), reversed(ends), strict=True), start=1):
        a, beta = a_bar[t], 1.0 - a_bar[t] / a_prev
        z_0 = (z - (1.0 - a).sqrt() * eps(z, torch.full((len(z),), t, device=z.device))) / a.sqrt()
        # eq. 7: the mean, and the variance beta~
        z = (a_prev.sqrt() * beta / (1.0 - a)) * z_0 + ((a / a_prev).sqrt() * (1.0 - a_prev) / (1.0 - a)) * z
        if done < len(timesteps):
            z = z + (beta * (1.0 - a_prev) / (1.0 - a)).sqrt() * _require(noise)(done - 1)
        if callback is not None:
            callback(done, z, z_0)
    return z


@dataclass(frozen=True)
class Sampler:
    """A solver (`ddim`, `plms`, `dpm_solver`, `ancestral`), its number of steps, and their spacing."""

    steps: int
    solve: Solver = ddim
    spacing: Callable[[int, int], list[int]] = ddim_timesteps

    def __post_init__(self) -> None:
        require_whole("the number of sampling steps", self.steps, 1)

    def timesteps(self, total: int) -> list[int]:
        """Return the timesteps that the solver visits, ascending."""
        return self.spacing(self.steps, total)

    def __call__(self, eps: Denoiser, z_T: Tensor, alpha_bar: Tensor, noise: Noise | None = None) -> Tensor:
        """Denoise z_T [b, c, h, w] to z_0. Stochastic solvers add `noise` in every step."""
        return self.solve(eps, z_T, alpha_bar, self.timesteps(len(alpha_bar)), noise)

    @property
    def name(self) -> str:
        """The name of the solver with its options, such as "ddim, eta 1.0"."""
        if isinstance(self.solve, partial):
            return ", ".join([self.solve.func.__name__, *(f"{k} {v}" for k, v in self.solve.keywords.items())])
        return self.solve.__name__  # pyright: ignore[reportFunctionMemberAccess]
