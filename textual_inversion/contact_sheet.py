"""One picture that says whether inversion worked: what was shown, what was learned, and the word in new sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_MARGIN, _GAP, _TITLE = 12, 4, 24  # pixels


@dataclass(frozen=True, eq=False)
class Row:
    """A line of the sheet: a title above pictures uint8 [n, H, W, 3], each with a caption below it if there are any."""

    title: str
    images: np.ndarray
    captions: Sequence[str] = ()


def contact_sheet(rows: Sequence[Row], side: int = 160) -> Image.Image:
    """The rows on white, every picture brought to `side` pixels."""
    font, small = ImageFont.load_default(15), ImageFont.load_default(12)
    heights = [_TITLE + side + (18 if row.captions else 0) + _GAP for row in rows]
    columns = max(len(row.images) for row in rows)
    sheet = Image.new("RGB", (2 * _MARGIN + columns * (side + _GAP), 2 * _MARGIN + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    y = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        draw.text((_MARGIN, y + 2), row.title, fill="black", font=font)
        for i, image in enumerate(row.images):
            x = _MARGIN + i * (side + _GAP)
            sheet.paste(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS), (x, y + _TITLE))
            if row.captions:
                draw.text((x + 2, y + _TITLE + side + 2), row.captions[i], fill="#444444", font=small)
        y += height
    return sheet


def save_sheet(path: Path, rows: Sequence[Row]) -> None:
    """The sheet as a PNG, written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    contact_sheet(rows).save(partial, format="PNG")
    partial.replace(path)
