"""Load the images of a concept from a folder: tell them from other files, from masks and from what cannot be read."""

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ldm.errors import UserError

from .picture_file import READABLE, picture_kind, read_square

log = logging.getLogger(__name__)

# Files with these suffixes are meant to be images: if their content is not an image, raise an error, do not skip them.
_SUFFIXES = frozenset(
    ".jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif .jp2 .j2k .jpx .jpf .ppm .pgm .pbm .pnm .tga".split()
)
BESIDE = frozenset(("concept.json", "short.txt", "long.txt"))  # labels and captions in the same folder
_UNREADABLE_SUFFIXES = {
    **dict.fromkeys((".heic", ".heif"), "HEIC"),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"), "camera raw"),
    **{".svg": "SVG", ".pdf": "PDF", ".psd": "Photoshop", ".jxl": "JPEG XL", ".exr": "OpenEXR", ".hdr": "Radiance HDR"},
}
_WHAT_TO_DO = "Put 3 to 5 pictures of the concept there (JPEG or PNG), or set images to the folder that has them."
# What tools write beside a picture for the same picture: cat-masklabel.png beside cat.jpg.
_MAP = r"(?:masks?|(?:mask|cond)?labels?|mattes?|alpha|trimap|seg|segmentation|depth|normals?|canny|thumb|thumbnail)"
_BESIDE_A_PICTURE = (rf"(.+?)[-_.]+{_MAP}(?:[-_.]?\d+)?", rf"{_MAP}[-_.]+(.+)")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Loaded images: `images` uint8 [n, size, size, 3] RGB, `names` of their n files, and `skipped` (name, reason) of
    other files."""

    images: np.ndarray
    names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


def load_pictures(folder: Path, size: int, first: int | None = None, tell: bool = True) -> Pictures:
    """Load the images in `folder`, sorted by name, all or only the `first` ones: the centre square of each, resized to
    `size`. Other files are skipped and, with `tell`, logged. Raises UserError if there are too few images, or if one is
    broken."""
    folder = Path(folder)
    images, names, skipped = [], [], []
    files = _files(folder)
    for path in files:
        if len(images) == first:
            break
        reason = reason_to_skip(path, files)
        if reason:
            skipped.append((path.name, reason))
            quiet = reason == "hidden" or path.name in BESIDE or not tell
            log.log(logging.DEBUG if quiet else logging.WARNING, "skipped %s: %s", path, reason)
            continue
        images.append(np.asarray(read_square(path, size)))
        names.append(path.name)
    if not images:
        found = "; ".join(f"{name}: {reason}" for name, reason in skipped) or "it is empty"
        raise UserError(f"no pictures in {folder} ({found}). {_WHAT_TO_DO}")
    if first is not None and len(images) < first:
        raise UserError(f"{folder} holds {len(images)} pictures, {first} are asked for: add some, or ask for fewer.")
    return Pictures(np.stack(images), tuple(names), tuple(skipped))


def _files(folder: Path) -> list[Path]:
    if not folder.exists():
        raise UserError(f"there is no folder {folder.absolute()}. {_WHAT_TO_DO}")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: set images to the folder that holds the pictures")
    return sorted(folder.iterdir(), key=lambda path: path.name)


def reason_to_skip(path: Path, files: Collection[Path]) -> str | None:
    """Return why `path`, one of `files`, is not read as a picture of the concept, or None if it is read."""
    if path.name.startswith("."):
        return "hidden"
    if not path.is_file():
        return "a folder" if path.is_dir() else "not a file"
    suffix, kind = path.suffix.lower(), picture_kind(path)
    unreadable = (
        _UNREADABLE_SUFFIXES.get(suffix) if kind in (None, "TIFF") else None
    )  # camera raw files start like TIFF
    unreadable = unreadable or (kind if kind is not None and kind not in READABLE else None)
    if unreadable:
        return f"{unreadable} is not supported, save it as JPEG or PNG"
    if not kind and suffix not in _SUFFIXES:
        return "not a picture"
    beside = companion_of(path, files)
    return f"a mask or a map of {beside.name}" if beside else None


def companion_of(path: Path, files: Collection[Path]) -> Path | None:
    """Return the picture among `files` that `path`, by its name, is a mask, a depth map or a thumbnail of, or None. A
    mask without its picture may itself be the concept."""
    found = [re.fullmatch(pattern, path.stem, re.IGNORECASE) for pattern in _BESIDE_A_PICTURE]
    names = {match[1].lower() for match in found if match}
    pictures = (file for file in files if file.suffix.lower() in _SUFFIXES | _UNREADABLE_SUFFIXES.keys())
    return next((file for file in pictures if {file.stem.lower(), file.name.lower()} & names), None)
