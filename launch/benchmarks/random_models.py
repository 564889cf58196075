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
def outputs(node: DictConfig, device: str) -> dict[str, Tensor]:
    """Return outputs of each part of the model of the config `node` in float32, for drawn inputs. Only one part of the
    model is in memory at a time: the largest of the 1.4B model, the UNet, has 3.5 GB. On a GPU the convolutions do not
    use TF32, as they do by default."""
    with torch.device("meta"):
        ldm: LatentDiffusion = instantiate(node, vocabulary="not read", _convert_="all").eval().requires_grad_(False)
    text, shape = ldm.text_encoder, (ldm.unet.in_channels, ldm.unet.sample_size, ldm.unet.sample_size)
    side = ldm.unet.sample_size * ldm.first_stage_model.downsampling
    rng = np.random.default_rng(20261126)
    z = torch.from_numpy(rng.standard_normal((1, *shape), dtype=np.float32)).to(device)
    ids = torch.from_numpy(rng.integers(0, text.vocab_size, (1, text.max_length))).to(device)
    x = torch.from_numpy(rng.uniform(-1, 1, (1, 3, side, side)).astype(np.float32)).to(device)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        with drawn(ldm, "cond_stage_model", device) as text:
            c = text.encode(text.embed(ids))
        with drawn(ldm, "model.diffusion_model", device) as unet:
            eps = unet(z, torch.tensor([417], device=device), c)
        with drawn(ldm, "first_stage_model", device) as first_stage:
            moments = first_stage.quant_conv(first_stage.encoder(x))
            decoded = first_stage.decode(moments[:, : len(z[0])])
    every = {
        "c.every_7th_number_of_tokens_0_38_76": c[0, ::38, ::7],
        "eps": eps,
        "moments": moments,
        "decoded.every_8th_pixel": decoded[:, :, ::8, ::8],
    }
    return {name: value.cpu().contiguous() for name, value in every.items()}


def errors_against_original(node: DictConfig, golden: Path, device: str) -> dict[str, float]:
    """Compare the `outputs` of a model with those of the original code in `golden`. Returns for each output the largest
    error divided by the largest value."""
    expected = load_file(golden)
    return {
        name: float((value - expected[name]).abs().max() / expected[name].abs().max())
        for name, value in outputs(node, device).items()
    }
