import re
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np

from ldm.images import save_png
from textual_inversion.figures.page import PageRow, save_page

PROMPT = """</code><script src="http://x.y/z.js">alert('S*')</script> & <img src=x onerror="a">, "ä" """


class Reader(HTMLParser):
    """Collects the tags, the values of attributes, and the texts of <code>."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.codes, self.inside = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.inside = tag == "code"

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.codes.append(data)


def test_a_page_is_one_file_with_its_pictures_inside_and_prompts_as_text(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path in paths:
        save_png(path, np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8), texts={"a": "b"})
    rows = [PageRow({"Prompt": PROMPT, "Negative prompt": "blue"}, paths, ["0.png", '"1">']), PageRow({}, [], [])]
    save_page(tmp_path / "sheet.html", PROMPT, rows)
    text = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    page = Reader(text)
    assert page.codes == [PROMPT, "blue"]
    assert set(page.tags) <= {
        "html", "meta", "title", "style", "h1", "p", "section", "div", "code", "figure", "img", "figcaption"
    }  # fmt: skip
    start = "data:image/png;base64,"
    assert [b64decode(source.removeprefix(start)) for source in page.sources] == [path.read_bytes() for path in paths]
    assert all(source.startswith(start) for source in page.sources)
    assert "default-src 'none'; img-src data:" in text and not re.search(r"url\(|@import|<script|<link", text)
