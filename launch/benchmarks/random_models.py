"""Models of the published sizes with random weights, drawn on the device, so that nothing has to be downloaded."""

import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from safetensors.torch import load_file
from torch import Tensor

from ldm.latent_diffusion import LatentDiffusion

THREADS = 8


def widen(vocabulary: Path, count: int, path: Path) -> Path:
    """Write a vocabulary of `count` words to `path`, starting with the words of `vocabulary`; returns `path`."""
    words = vocabulary.read_text(encoding="utf-8").splitlines()
    words += [f"[unused{i}]" for i in range(count - len(words))]
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


def build_random(node: DictConfig, vocabulary: Path, device: str, seed: int = 0) -> LatentDiffusion:
    """Build the frozen model of the config `node` with the given vocabulary; its weights are drawn on `device`."""
    with torch.device(device):
        ldm: LatentDiffusion = instantiate(node, vocabulary=vocabulary, _convert_="all")
    rng = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, value in ldm.named_parameters():
            value.normal_(std=_std(value), generator=rng)
            if _is_gain(name, value):
                value.add_(1.0)
    return ldm.eval().requires_grad_(False)


def _std(value: Tensor) -> float:
    """Return the standard deviation that keeps activations near unit size through every layer."""
    return 0.7 * value[0].numel() ** -0.5 if value.ndim > 1 else 0.02


def _is_gain(name: str, value: Tensor) -> bool:
    return value.ndim == 1 and name.endswith("weight")


@contextmanager
def drawn(ldm: LatentDiffusion, part: str, device: str) -> Iterator[Any]:
    """Yield `part` of a model on the meta device, filled on `device` with the weights of tests/golden/full_size_1p4B:
    each is drawn from a seed derived from its name. Afterwards the part is on the meta device again."""
    module = ldm.get_submodule(part).to_empty(device=device)

    def draw(name: str, value: Tensor) -> None:
        rng = np.random.default_rng(zlib.crc32(f"{part}.{name}".encode()))
        weight = torch.from_numpy(rng.standard_normal(tuple(value.shape), dtype=np.float32)).mul_(_std(value))
        value.copy_(weight.add_(1.0) if _is_gain(name, value) else weight)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda item: draw(*item), module.named_parameters()))
    yield module
    module.to("meta")


@torch.no_grad()
def errors_against_original(node: DictConfig, golden: Path, device: str) -> dict[str, float]:
    """Compare the 1.4B model of the config `node` in float32 with the outputs of the original code in `golden`. Returns
    for each output the largest error divided by the largest value. Only one part of the model is in memory at a time:
    the largest, the UNet, has 3.5 GB."""
    expected = load_file(golden)
    with torch.device("meta"):
        ldm: LatentDiffusion = instantiate(node, vocabulary="not read", _convert_="all").eval().requires_grad_(False)
    rng = np.random.default_rng(20261126)
    z = torch.from_numpy(rng.standard_normal((1, 4, 32, 32), dtype=np.float32)).to(device)
    ids = torch.from_numpy(rng.integers(0, 30522, (1, 77))).to(device)
    x = torch.from_numpy(rng.uniform(-1, 1, (1, 3, 256, 256)).astype(np.float32)).to(device)
    with drawn(ldm, "cond_stage_model", device) as text:
        c = text.encode(text.embed(ids))
    with drawn(ldm, "model.diffusion_model", device) as unet:
        eps = unet(z, torch.tensor([417], device=device), c)
    with drawn(ldm, "first_stage_model", device) as first_stage:
        moments = first_stage.quant_conv(first_stage.encoder(x))
        decoded = first_stage.decode(moments[:, :4])
    ours = {
        "c.every_7th_number_of_tokens_0_38_76": c[0, [0, 38, 76], ::7],
        "eps": eps,
        "moments": moments,
        "decoded.every_8th_pixel": decoded[:, :, ::8, ::8],
    }
    return {
        name: float((value.cpu() - expected[name]).abs().max() / expected[name].abs().max())
        for name, value in ours.items()
    }
