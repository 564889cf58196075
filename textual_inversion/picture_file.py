"""Read one image file: detect the format by content, decode no more pixels than a budget, apply the EXIF orientation
and the colour profile, and crop to a square."""

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from ldm.errors import UserError

log = logging.getLogger(__name__)

READABLE = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA")
# Pixels that are decoded. A larger JPEG is decoded at 1/2, 1/4 or 1/8 of its size; other formats cannot do that.
PIXELS = 50_000_000
JPEG_PIXELS = 250_000_000
# A larger picture is cut, converted and shrunk strip by strip, since every whole copy of it takes 4 bytes a pixel.
LARGE = 12_500_000
STRIP = 200_000  # pixels
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"8BPS": "Photoshop",
}
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"))
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of Pillow, by the colour space of a profile


def picture_kind(path: Path) -> str | None:
    """Return the image format of the file by its first bytes, or None if it is not an image. Only TGA has no first
    bytes of its own; there the suffix counts. Raises UserError if the file cannot be opened."""
    head = _head(path)
    return kind_of(head) or ("TGA" if head and path.suffix.lower() == ".tga" else None)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): allow reading it, or move it away") from error


def kind_of(head: bytes) -> str | None:
    """Return the image format of a file with these first 16 bytes, or None if it is not an image."""
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "BMP"
    if re.match(rb"P[1-6]\s+[#\d]", head):
        return "PPM"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "AVIF" if brand in (b"avif", b"avis") else "HEIC" if brand in _HEIF_BRANDS else None
    return None


def read_square(path: Path, size: int) -> Image.Image:
    """Read the centre square of an image, upright, as 8-bit sRGB of `size` x `size` pixels.

    Transparency becomes white, 16 bits are scaled to 8, an animation gives its first frame, and colours are converted
    from the profile in the file. Raises UserError with the path if the file does not hold a complete image, or if
    decoding it would take too much memory."""
    kind = picture_kind(path)
    if kind is None:
        content = "is named like a picture but holds none" if path.stat().st_size else "is empty (0 bytes)"
        raise UserError(f"{path} {content}: replace it, or remove it")
    with _own_budget():
        with _decoding(path, kind):
            file = Image.open(path, formats=(kind,))
        with file:
            _require_room(path, file, size)
            if min(file.size) < size / 2:
                log.warning("%s has only %d x %d pixels and is enlarged to %d x %d", path, *file.size, size, size)
            with _decoding(path, kind):
                names_adobe_rgb = _names_adobe_rgb(file.getexif())
                small = file.width * file.height <= LARGE
                if small:
                    ImageOps.exif_transpose(file, in_place=True)
                file.load()
            profile = file.info.get("icc_profile")
            if small:
                square = centre_square(without_alpha(file, path, kind), size)
            else:
                square = _by_strips(file, path, kind, size)
    if profile is not None:
        square = to_srgb(square, profile, path)
    elif names_adobe_rgb:
        log.warning("%s is in Adobe RGB but holds no colour profile: it is read as sRGB, a little pale", path)
    return square.convert("RGB")


@contextmanager
def _own_budget() -> Iterator[None]:
    """Switch off Pillow's limit, which calls a photograph of 100 megapixels an attack, for the block."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _decoding(path: Path, kind: str) -> Iterator[None]:
    """Raise UserError that names the file for any error of Pillow's decoders in the block."""
    try:
        yield
    except Exception as error:  # they raise almost any exception for broken files
        raise UserError(f"{path} is a {kind} that cannot be decoded ({error}): replace it, or remove it") from error


def _names_adobe_rgb(exif: Image.Exif) -> bool:
    """Return whether a camera's EXIF data names Adobe RGB, by "R03" in its interoperability directory."""
    inside = ExifTags.IFD.Interop in exif.get_ifd(ExifTags.IFD.Exif)
    return inside and exif.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex) == "R03"


def _require_room(path: Path, image: Image.Image, size: int) -> None:
    """Prepare an image with more than `PIXELS` to be decoded small, if it is a JPEG. Raises UserError if it would
    still be too large: a file of any format may have as many pixels as bytes."""
    width, height = image.size
    if PIXELS < width * height <= JPEG_PIXELS:
        image.draft(None, (size, size))  # does nothing for other formats
    if image.width * image.height > max(PIXELS, path.stat().st_size):
        raise UserError(
            f"{path} has {width} x {height} pixels; at most {JPEG_PIXELS // 10**6} million are read of a JPEG, and "
            f"{PIXELS // 10**6} million of another compressed file: save it smaller."
        )


def _by_strips(image: Image.Image, path: Path, kind: str, size: int) -> Image.Image:
    """Return nearly what `centre_square` makes of `without_alpha`, upright, of a loaded image: before it is resized, it
    is shrunk to at least twice `size` by averages over squares of whole pixels."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    factor = max(1, side // (2 * size))
    rows, square = factor * max(1, STRIP // (side * factor)), None
    for y in range(0, side, rows):
        strip = image.crop((left, top + y, left + side, top + min(y + rows, side)))
        strip = without_alpha(strip, path, kind).reduce(factor)
        square = square or Image.new(strip.mode, (strip.width, strip.width))
        square.paste(strip, (0, y // factor))
    whole = (0, 0, side / factor, side / factor)
    square = cast(Image.Image, square).resize((size, size), Image.Resampling.BICUBIC, whole)
    square.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    return ImageOps.exif_transpose(square)


def without_alpha(image: Image.Image, path: Path, kind: str) -> Image.Image:
    """Convert an image of any mode, from a file of this kind, to 8 bits in mode L, RGB or CMYK; transparency becomes
    white. Raises UserError for 32-bit images, with `path`."""
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PPM"):
        return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UserError(f"{path} has 32 bits per pixel without a known range: save it with 8 or 16 bits.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode in ("L", "CMYK") else image.convert("L" if image.mode == "1" else "RGB")


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """Crop the largest centred square and resize it to `size` x `size` (bicubic, antialiased). Keeps the aspect
    ratio."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))  # resize(box=...) would read pixels outside of the box
    return square.resize((size, size), Image.Resampling.BICUBIC)


def to_srgb(image: Image.Image, profile: bytes, path: Path) -> Image.Image:
    """Convert an image in mode L, RGB or CMYK from the ICC `profile` to sRGB in mode RGB. If the profile cannot be
    used, warn and return the image as it is; `path` is named in the warning."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES[cast(Any, source.profile).xcolor_space]
        if mode == "RGB" and image.mode == "L":
            image = image.convert("RGB")
        if mode != image.mode:
            raise ValueError(f"it is for {mode}, the picture is {image.mode}")
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, KeyError, ValueError) as error:
        log.warning("the colour profile of %s cannot be used (%s): it is read as sRGB", path, error)
        return image
    return converted or image
