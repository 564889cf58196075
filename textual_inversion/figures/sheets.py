"""Rows of images with titles: a contact sheet, which shows whether an inversion worked, and a figure for print."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from ldm.files import replacing, write_whole

from .plots import figure, save

_MARGIN, _GAP, _TITLE, _LINE = 12, 4, 24, 14  # pixels
MOST_BYTES = 600_000  # of a sheet: many of them lie in a repository
_QUALITIES = (90, 80, 70, 60)
_LETTERS_PER_PIXEL = 0.16  # in the small font


@dataclass(frozen=True, eq=False)
class PictureRow:
    """A row of the sheet: a title above images uint8 [n, H, W, 3], with optional captions below them."""

    title: str
    images: np.ndarray
    captions: Sequence[str] = ()


def contact_sheet(rows: Sequence[PictureRow], side: int = 160) -> Image.Image:
    """Draw the rows on white, with images resized to `side` pixels. Long captions are wrapped; the sheet is as wide as
    its longest title."""
    font, small = ImageFont.load_default(15), ImageFont.load_default(11)
    wrapped = [[textwrap.wrap(caption, int(side * _LETTERS_PER_PIXEL)) for caption in row.captions] for row in rows]
    below = [_LINE * max((len(lines) for lines in row), default=0) for row in wrapped]
    columns = max(len(row.images) for row in rows)
    height = sum(_TITLE + side + text + _GAP for text in below)
    width = max(columns * (side + _GAP), *(math.ceil(font.getlength(row.title)) for row in rows))
    sheet = Image.new("RGB", (2 * _MARGIN + width, 2 * _MARGIN + height), "white")
    draw = ImageDraw.Draw(sheet)
    top = _MARGIN
    for row, captions, text in zip(rows, wrapped, below, strict=True):
        draw.text((_MARGIN, top + 2), row.title, fill="black", font=font)
        for i, image in enumerate(row.images):
            x, y = _MARGIN + i * (side + _GAP), top + _TITLE
            sheet.paste(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS), (x, y))
            if captions:
                draw.multiline_text(
                    (x + 1, y + side + 1), "\n".join(captions[i]), fill="#444444", font=small, spacing=1
                )
        top += _TITLE + side + text + _GAP
    return sheet


def save_sheet(path: Path, rows: Sequence[PictureRow]) -> None:
    """Write the sheet as a PNG or JPEG file, as the suffix of `path` says. The file is complete or absent."""
    options = {"format": "PNG"} if path.suffix == ".png" else {"format": "JPEG", "quality": 85, "optimize": True}
    with replacing(path) as partial:
        contact_sheet(rows).save(partial, **options)


def save_figure(path: Path, rows: Sequence[PictureRow]) -> None:
    """Write the rows in the style of the plots, as `path`.png and `path`.pdf."""
    with _drawn(rows) as fig:
        save(fig, path)


def save_small_figure(path: Path, rows: Sequence[PictureRow]) -> None:
    """Write the rows in the style of the plots, as `path`.jpg of at most `MOST_BYTES`."""
    with _drawn(rows) as fig:
        canvas = FigureCanvasAgg(fig)
        fig.set_dpi(rcParams["savefig.dpi"])
        canvas.draw()
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    write_whole(path.with_name(f"{path.name}.jpg"), compress(pixels))


@contextmanager
def _drawn(rows: Sequence[PictureRow], side: float = 0.95) -> Iterator[Figure]:
    """Yield a figure of the rows. `side` is the side of an image in inches."""
    margin, title, line = 0.05, 0.2, 0.085
    wrapped = [[textwrap.fill(caption, int(24 * side)) for caption in row.captions] for row in rows]
    below = [max((1 + text.count("\n") for text in row if text), default=0) * line for row in wrapped]
    width = max(len(row.images) for row in rows) * (side + margin) + margin
    height = sum(title + side + text + margin for text in below)
    with figure(width, height) as fig:
        fig.set_layout_engine("none")
        top = height
        for row, captions, text in zip(rows, wrapped, below, strict=True):
            bottom = top - title - side
            fig.text(margin / width, (bottom + side + 0.05) / height, row.title, fontsize=7, va="bottom")
            for i, image in enumerate(row.images):
                left = margin + i * (side + margin)
                axes = fig.add_axes((left / width, bottom / height, side / width, side / height))
                axes.imshow(image, interpolation="nearest")
                axes.axis("off")
                if captions:
                    fig.text(left / width, (bottom - 0.02) / height, captions[i], fontsize=5, va="top")
            top = bottom - text - margin
        yield fig


def compress(image: Image.Image, most: int = MOST_BYTES) -> bytes:
    """Return the image as a JPEG file of at most `most` bytes: in the best quality of a few, or if none is small
    enough, at half the size."""
    for quality in _QUALITIES:
        image.save(file := BytesIO(), format="JPEG", quality=quality, optimize=True)
        if file.tell() <= most:
            return file.getvalue()
    return compress(image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS), most)
