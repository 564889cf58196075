"""Load the images of a concept from a folder: detect formats by content, apply the EXIF orientation, crop to
squares."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ldm.errors import UserError

log = logging.getLogger(__name__)

READABLE = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# Files with these suffixes are meant to be images: if their content is not an image, raise an error, do not skip them.
_SUFFIXES = frozenset(".jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif".split())
BESIDE = frozenset(("concept.json", "short.txt", "long.txt"))  # labels and captions in the same folder
_UNREADABLE_SUFFIXES = {
    **dict.fromkeys((".heic", ".heif"), "HEIC"),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"), "camera raw"),
    **{".svg": "SVG", ".pdf": "PDF", ".psd": "Photoshop", ".jxl": "JPEG XL"},
}
_WHAT_TO_DO = "Put 3 to 5 pictures of the concept there (JPEG or PNG), or set images to the folder that has them."
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"))


@dataclass(frozen=True, eq=False)
class Pictures:
    """Loaded images: `images` uint8 [n, size, size, 3] RGB, `names` of their n files, and `skipped` (name, reason) of
    other files."""

    images: np.ndarray
    names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


def load_pictures(folder: Path, size: int, first: int | None = None) -> Pictures:
    """Load the images in `folder`, sorted by name, all or only the `first` ones: the centre square of each, resized to
    `size`. Other files are skipped and logged. Raises UserError if there are too few images, or if one is broken."""
    folder = Path(folder)
    images, names, skipped = [], [], []
    for path in _files(folder):
        if len(images) == first:
            break
        reason = _reason_to_skip(path)
        if reason:
            skipped.append((path.name, reason))
            quiet = reason == "hidden" or path.name in BESIDE
            log.log(logging.DEBUG if quiet else logging.WARNING, "skipped %s: %s", path, reason)
            continue
        picture = read_picture(path)
        if min(picture.size) < size / 2:
            log.warning("%s has only %d x %d pixels and is enlarged to %d x %d", path, *picture.size, size, size)
        images.append(np.asarray(centre_square(picture, size)))
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


def _reason_to_skip(path: Path) -> str | None:
    if path.name.startswith("."):
        return "hidden"
    if not path.is_file():
        return "a folder" if path.is_dir() else "not a file"
    suffix, kind = path.suffix.lower(), picture_kind(_head(path))
    unreadable = (
        _UNREADABLE_SUFFIXES.get(suffix) if kind in (None, "TIFF") else None
    )  # camera raw files start like TIFF
    unreadable = unreadable or (kind if kind is not None and kind not in READABLE else None)
    if unreadable:
        return f"{unreadable} is not supported, save it as JPEG or PNG"
    return None if kind or suffix in _SUFFIXES else "not a picture"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): allow reading it, or move it away") from error


def picture_kind(head: bytes) -> str | None:
    """Return the image format of a file with these first 16 bytes, or None if it is not an image."""
    starts = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
    for start, kind in starts.items():
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "BMP"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "AVIF" if brand in (b"avif", b"avis") else "HEIC" if brand in _HEIF_BRANDS else None
    return None


def read_picture(path: Path) -> Image.Image:
    """Read an image upright in 8-bit RGB: transparency becomes white, 16 bits are scaled to 8, and an animation gives
    its first frame. Raises UserError with the path if the file does not hold a complete image."""
    head = _head(path)
    kind = picture_kind(head)
    if kind is None:
        content = "is named like a picture but holds none" if head else "is empty (0 bytes)"
        raise UserError(f"{path} {content}: replace it, or remove it")
    try:
        with Image.open(path, formats=(kind,)) as image:
            return to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's decoders raise almost any exception for broken files
        raise UserError(f"{path} is a {kind} that cannot be decoded ({error}): replace it, or remove it") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB; transparency becomes white. Raises UserError for 32-bit images."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UserError("32 bits per pixel without a known range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """Crop the largest centred square and resize it to `size` x `size` (bicubic, antialiased). Keeps the aspect
    ratio."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))  # resize(box=...) would read pixels outside of the box
    return square.resize((size, size), Image.Resampling.BICUBIC)
