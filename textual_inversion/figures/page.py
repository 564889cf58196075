"""A contact sheet as one HTML file: the pictures are inside it, and a click selects a prompt to copy. It refers to
nothing outside and runs no script; its policy forbids both, since prompts can come from anywhere."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ldm.files import replacing

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }}
h1 {{ font-size: 1.2rem }}
section {{ margin: 0 0 2rem }}
code {{ display: inline-block; max-width: 100%; padding: .3rem .6rem; background: #f2f2f2; border-radius: 4px;
  user-select: all; white-space: pre-wrap; overflow-wrap: anywhere; font: 14px/1.4 ui-monospace, monospace }}
.pictures {{ display: flex; flex-wrap: wrap; gap: .5rem; margin-top: .5rem }}
figure {{ margin: 0; width: 192px }}
img {{ width: 192px; height: 192px; display: block }}
p {{ margin: 0 0 1rem }}
div {{ margin-bottom: .3rem }}
figcaption, p {{ color: #666; font-size: 12px }}
</style>
<h1>{title}</h1>
<p>A click selects a prompt. A picture that is saved from this page keeps its parameters.</p>
"""


@dataclass(frozen=True)
class PageRow:
    """Pictures of one prompt: texts to copy, by their titles, the PNG files, and a caption of each."""

    texts: dict[str, str]
    pictures: Sequence[Path]
    captions: Sequence[str]


def save_page(path: Path, title: str, rows: Sequence[PageRow]) -> None:
    """Write the rows as one HTML file, atomically."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(_HEAD.format(title=escape(title)))
        for row in rows:
            file.writelines(_section(row))


def _section(row: PageRow) -> Iterator[str]:
    yield "<section>\n"
    for title, text in row.texts.items():
        yield f"<div>{escape(title)} <code>{escape(text)}</code></div>\n"
    yield '<div class="pictures">\n'
    for picture, caption in zip(row.pictures, row.captions, strict=True):
        content = b64encode(picture.read_bytes()).decode()
        said = escape(caption)
        yield f'<figure><img alt="{said}" src="data:image/png;base64,{content}">'
        yield f"<figcaption>{said}</figcaption></figure>\n"
    yield "</div>\n</section>\n"
