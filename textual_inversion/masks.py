"""The part of an image that an edit may change: a painted mask in a file, or a box."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ldm.errors import UserError

from .picture_file import read_square


def read_mask(path: Path, image: Path, size: int) -> np.ndarray:
    """Read the mask of the file `image`: bool [size, size], True where it is white, cropped and resized as the image.
    Raises UserError if the two files differ in size, or if nothing or everything is white."""
    square = read_square(path, size)  # tells what is wrong with a file that is no picture
    found, wanted = _size(path), _size(image)
    if found != wanted:
        raise UserError(
            f"the mask {path} has {found[0]} x {found[1]} pixels, the picture {image} {wanted[0]} x {wanted[1]}: give "
            f"a mask of the same size."
        )
    return _require_part(np.asarray(square.convert("L")) >= 128, f"the centre square of the mask {path}")


def box_mask(box: Sequence[float], size: int) -> np.ndarray:
    """Return a mask, bool [size, size], of the `box` (left, top, right, bottom) in fractions of the side. Raises
    UserError if it is not a part of the image."""
    if len(box) != 4 or not all(0.0 <= edge <= 1.0 for edge in box):
        raise UserError(f"the box {list(box)} must be [left, top, right, bottom], each from 0 to 1.")
    left, top, right, bottom = (round(edge * size) for edge in box)
    mask = np.zeros((size, size), dtype=bool)
    mask[top:bottom, left:right] = True
    return _require_part(mask, f"the box {list(box)}")


def _size(path: Path) -> tuple[int, int]:
    """Return the width and the height of an image file as it is shown, upright."""
    with Image.open(path) as file:
        turned = file.getexif().get(0x0112, 1) >= 5  # the EXIF orientations that swap the sides
        return (file.height, file.width) if turned else file.size


def mark(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return `image`, uint8 [H, W, 3], with the part under `mask`, bool [H, W], paled."""
    return np.where(mask[..., None], image // 2 + 127, image).astype(np.uint8)


def _require_part(mask: np.ndarray, what: str) -> np.ndarray:
    if mask.all() or not mask.any():
        raise UserError(
            f"{what} covers {'the whole picture' if mask.all() else 'nothing'}: white is what is generated anew, and "
            f"black is what is kept."
        )
    return mask
