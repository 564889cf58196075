"""Pictures in and out of tensors: uint8 [n, H, W, 3] RGB on one side, [n, 3, H, W] in [-1, 1] on the other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .files import replacing


def to_tensor(images: np.ndarray) -> Tensor:
    """uint8 [n, H, W, 3] -> [n, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(images, order="C")).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def to_uint8(x: Tensor) -> np.ndarray:
    """[n, 3, H, W] in [-1, 1] -> uint8 [n, H, W, 3], clipped."""
    return ((x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def tile(rows: Sequence[np.ndarray], gap: int = 2) -> np.ndarray:
    """Rows of pictures, each uint8 [n, H, W, 3], on one white sheet; a short row ends in white."""
    width = max(len(row) for row in rows)
    framed = [np.pad(row, ((0, width - len(row)), (0, gap), (0, gap), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate([np.concatenate(list(row), axis=1) for row in framed], axis=0)


def save_png(path: str | Path, image: np.ndarray) -> None:
    """Writes uint8 [H, W, 3] RGB."""
    with replacing(path) as partial:
        Image.fromarray(image).save(partial, format="PNG")


def save_webp(path: str | Path, image: np.ndarray) -> None:
    """Writes uint8 [H, W, 3] RGB without loss, in two thirds of a PNG's bytes."""
    with replacing(path) as partial:
        Image.fromarray(image).save(partial, format="WEBP", lossless=True, quality=75, method=6)
