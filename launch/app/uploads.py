"""The pictures that a browser uploads: which of them are read, how they are cropped, and why others are skipped."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ldm.errors import UserError
from textual_inversion.picture_file import picture_kind, read_square
from textual_inversion.pictures import reason_to_skip

FEWEST, MOST = 3, 25
BYTES = 30_000_000  # of one file


@dataclass(frozen=True, eq=False)
class Uploads:
    """Uploaded files: `images`, uint8 [size, size, 3] each, of the files `paths`, and (name, reason) of those that are
    `skipped`."""

    images: list[np.ndarray]
    paths: list[Path]
    skipped: list[tuple[str, str]]


def read_uploads(paths: Sequence[Path], size: int) -> Uploads:
    """Read the centre square of each file as a training would, and say of every other file why it is skipped. Raises
    UserError for more than `MOST` files, of which none is opened."""
    if len(paths) > MOST:
        raise UserError(f"These are {len(paths)} files, and a word is learned from at most {MOST}: remove some.")
    images, kept, skipped = [], [], []
    for path in paths:
        try:
            reason = reason_to_skip(path, paths)
            if reason is None and path.stat().st_size > BYTES:
                reason = f"it has more than {BYTES // 10**6} MB: save it smaller"
            if reason is None:
                images.append(np.asarray(read_square(path, size)))
                kept.append(path)
        except UserError as error:
            reason = str(error).replace(str(path), "it")
        if reason is not None:
            skipped.append((path.name, reason))
    return Uploads(images, kept, skipped)


def require_enough(uploads: Uploads) -> None:
    """Raise UserError unless there are `FEWEST` pictures or more."""
    count = len(uploads.images)
    if count < FEWEST:
        raise UserError(f"There are {count} usable pictures: add at least {FEWEST - count} more.")


def copy_pictures(uploads: Uploads, folder: Path) -> None:
    """Copy the files into the new folder, in their order, under names that no browser has chosen."""
    folder.mkdir()
    for number, path in enumerate(uploads.paths):
        shutil.copyfile(path, folder / f"{number:02d}.{(picture_kind(path) or '').lower()}")
