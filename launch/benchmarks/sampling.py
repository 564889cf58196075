"""Seconds to generate a batch of images: ours against diffusers' pipeline, with the same weights, prompts and steps."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch

from ldm.latent_diffusion import LatentDiffusion
from ldm.precision import fast_precisions
from ldm.sampling import Sampler, dpm_solver, trailing_timesteps
from textual_inversion.generation import generate_images

from . import theirs
from .timing import compare_times, device, repeat

FEW = 15  # steps of the second-order solver, as in previews


def sampling(
    folder: Path,
    ldm: LatentDiffusion,
    prompt: str,
    image_size: int,
    pictures: int,
    steps: int,
    guidance: float,
    rounds: int,
) -> dict[str, dict[str, float]]:
    """Time both in float32 and, if the machine does not only emulate it, in bfloat16 (theirs: under autocast);
    speed-ups are over theirs in the same precision."""
    results = {}
    for dtype in fast_precisions():
        kind = "" if dtype == torch.float32 else ", bfloat16"
        seconds = compare_times(_calls(ldm, dtype, prompt, image_size, pictures, steps, guidance), rounds)
        for name, value in seconds.items():
            faster = seconds["diffusers"] / value
            results[name + kind] = {"seconds": value, "times_faster_than_diffusers": faster}
    return results


def _calls(
    ldm: LatentDiffusion,
    dtype: torch.dtype,
    prompt: str,
    image_size: int,
    pictures: int,
    steps: int,
    guidance: float,
) -> dict[str, Callable[[], list[float]]]:
    prompts = [prompt] * pictures
    generate = theirs.pipeline(ldm.to(device()), image_size, autocast=dtype == torch.bfloat16)
    own = copy.deepcopy(ldm).freeze(dtype)

    def ours(sampler: Sampler) -> list[float]:
        options = {"sampler": sampler, "guidance": guidance, "batch_size": pictures, "progress": False}
        return repeat(lambda: generate_images(own, prompts, **options), 1)

    return {
        "diffusers": lambda: repeat(lambda: generate(prompts, steps, guidance), 1),
        f"ddim, {steps} steps": lambda: ours(Sampler(steps)),
        f"dpm_solver, {FEW} steps": lambda: ours(Sampler(FEW, dpm_solver, trailing_timesteps)),
    }
