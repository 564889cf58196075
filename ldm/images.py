"""Convert between uint8 RGB images [n, H, W, 3] and float tensors [n, 3, H, W] in [-1, 1]; compare, tile and save
images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from .files import replacing


def to_tensor(images: np.ndarray) -> Tensor:
    """Convert uint8 [n, H, W, 3] to float32 [n, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(images, order="C")).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def to_uint8(x: Tensor) -> np.ndarray:
    """Convert [n, 3, H, W] in [-1, 1] to uint8 [n, H, W, 3]. Values outside of the range are clipped."""
    return ((x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def psnr(reconstruction: Tensor, x: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio [b] in dB of images [b, 3, H, W] in [-1, 1]. The reconstruction is clipped
    to that range."""
    mse = (reconstruction.float().clamp(-1.0, 1.0) - x).square().mean(dim=(1, 2, 3))
    return 10.0 * torch.log10(4.0 / mse)


def tile(rows: Sequence[np.ndarray], gap: int = 2) -> np.ndarray:
    """Tile rows of images, each uint8 [n, H, W, 3], into one image [.., .., 3]. Short rows are padded with white."""
    width = max(len(row) for row in rows)
    framed = [np.pad(row, ((0, width - len(row)), (0, gap), (0, gap), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate([np.concatenate(list(row), axis=1) for row in framed], axis=0)


def save_png(
    path: str | Path, image: np.ndarray, optimize: bool = False, texts: Mapping[str, str] | None = None
) -> None:
    """Write uint8 [H, W, 3] RGB as a PNG file, with `texts` (keyword -> text) in its text chunks."""
    chunks = PngInfo()
    for keyword, text in (texts or {}).items():
        chunks.add_text(keyword, text)
    with replacing(path) as partial:
        Image.fromarray(image).save(partial, format="PNG", optimize=optimize, pnginfo=chunks)


def save_webp(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 [H, W, 3] RGB as a lossless WebP file, which has two thirds of the bytes of a PNG file."""
    with replacing(path) as partial:
        Image.fromarray(image).save(partial, format="WEBP", lossless=True, quality=75, method=6)
