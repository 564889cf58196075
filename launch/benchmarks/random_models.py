"""Models of the published sizes without their weights: random ones, drawn on the device, with nothing to download."""

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from safetensors.torch import load_file
from torch import Tensor

from ldm.latent_diffusion import LatentDiffusion

THREADS = 8


def widen(vocabulary: Path, count: int, path: Path) -> Path:
    """Writes `path`, a vocabulary of `count` words that begins with those of `vocabulary`; returns it."""
    words = vocabulary.read_text(encoding="utf-8").splitlines()
    words += [f"[unused{i}]" for i in range(count - len(words))]
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


def build_random(node: DictConfig, vocabulary: Path, device: str, seed: int = 0) -> LatentDiffusion:
    """The frozen model that `node` describes, its weights drawn on `device`; it reads the words of `vocabulary`."""
    with torch.device(device):
        ldm: LatentDiffusion = instantiate(node, _convert_="all")
    rng = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, value in ldm.named_parameters():
            value.normal_(std=_std(value), generator=rng)
            if _is_gain(name, value):
                value.add_(1.0)
    ldm.cond_stage_model.vocabulary = vocabulary
    return ldm.eval().requires_grad_(False)


def _std(value: Tensor) -> float:
    """Keeps activations near unit size through every layer."""
    return 0.7 * value[0].numel() ** -0.5 if value.ndim > 1 else 0.02


def _is_gain(name: str, value: Tensor) -> bool:
    return value.ndim == 1 and name.endswith("weight")


def draw_by_name(ldm: LatentDiffusion) -> None:
    """Fills the model with the weights of tests/golden/full_size_1p4B, each drawn from a seed that its name gives."""

    def draw(name: str, value: Tensor) -> None:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        weight = torch.from_numpy(rng.standard_normal(tuple(value.shape), dtype=np.float32)).mul_(_std(value))
        value.copy_(weight.add_(1.0) if _is_gain(name, value) else weight)

    with torch.no_grad(), ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda item: draw(*item), ldm.named_parameters()))


@torch.no_grad()
def errors_against_original(build: Callable[[], LatentDiffusion], golden: Path) -> dict[str, float]:
    """The 1.4B model in float32 against the original code's numbers in `golden`: for each output the largest error as a
    share of the output's largest number. `build` returns a model of that size; it needs 7 GB."""
    expected = load_file(golden)
    ldm = build()
    draw_by_name(ldm)
    rng = np.random.default_rng(20261126)
    z = torch.from_numpy(rng.standard_normal((1, 4, 32, 32), dtype=np.float32)).to(ldm.device)
    ids = torch.from_numpy(rng.integers(0, 30522, (1, 77))).to(ldm.device)
    x = torch.from_numpy(rng.uniform(-1, 1, (1, 3, 256, 256)).astype(np.float32)).to(ldm.device)
    text, first_stage = ldm.cond_stage_model, ldm.first_stage_model
    c = text.encode(text.embed(ids))
    moments = first_stage.quant_conv(first_stage.encoder(x))
    ours = {
        "c.every_7th_number_of_tokens_0_38_76": c[0, [0, 38, 76], ::7],
        "eps": ldm.unet(z, torch.tensor([417], device=ldm.device), c),
        "moments": moments,
        "decoded.every_8th_pixel": first_stage.decode(moments[:, :4])[:, :, ::8, ::8],
    }
    return {
        name: float((value.cpu() - expected[name]).abs().max() / expected[name].abs().max())
        for name, value in ours.items()
    }
