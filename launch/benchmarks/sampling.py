"""Seconds to generate a batch of images: ours against diffusers' pipeline, with the same weights, prompts and steps."""

from pathlib import Path

from ldm.latent_diffusion import LatentDiffusion
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
    ldm = ldm.freeze().to(device())
    generate, prompts = theirs.pipeline(ldm, image_size), [prompt] * pictures

    def ours(sampler: Sampler) -> list[float]:
        options = {"sampler": sampler, "guidance": guidance, "batch_size": pictures, "progress": False}
        return repeat(lambda: generate_images(ldm, prompts, **options), 1)

    seconds = compare_times(
        {
            "diffusers": lambda: repeat(lambda: generate(prompts, steps, guidance), 1),
            f"ddim, {steps} steps": lambda: ours(Sampler(steps)),
            f"dpm_solver, {FEW} steps": lambda: ours(Sampler(FEW, dpm_solver, trailing_timesteps)),
        },
        rounds,
    )
    return {
        name: {"seconds": value, "times_faster_than_diffusers": seconds["diffusers"] / value}
        for name, value in seconds.items()
    }
