"""The tab Edit: a part of a picture is brushed and generated anew."""

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from ldm.errors import UserError

from .messages import notes_of, show_errors
from .model import MOST_LETTERS, PageModel, square
from .use import ONE_AT_A_TIME, Choice, results
from .words import Words

SIDE = 512  # of the brushed picture on the page, in pixels


class Edit:
    """The components of the tab. `made` is the state with the pictures that the tab Use has generated last."""

    def __init__(self, model: PageModel, words: Words, made: gr.State) -> None:
        self.model, self.words = model, words
        with gr.Row():
            with gr.Column():
                self.file = gr.File(label="A picture", height=110)
                self.take = gr.Button("Take the first generated picture")
                gr.Markdown("Brush over the part that is generated anew.")
                self.editor = gr.ImageEditor(
                    label="Brush", type="numpy", image_mode="RGBA", format="png",
                    sources=(), transforms=(), layers=False, canvas_size=(SIDE, SIDE), fixed_canvas=True, buttons=[],
                    brush=gr.Brush(default_size=50, colors=["#c2185b"], color_mode="fixed"), elem_id="editor",
                )  # fmt: skip
                self.choice = Choice(words, several=True, label="Learned words")
                self.prompt = gr.Textbox(
                    "a photo of S* on a table", label="What the whole picture shows after the edit",
                    max_length=MOST_LETTERS,
                )  # fmt: skip
                self.count = gr.Slider(1, 8, 4, step=1, label="Edits")
                self.seed = gr.Number(0, label="Seed", precision=0, minimum=0)
                self.go = gr.Button("Edit", variant="primary")
            with gr.Column():
                self.said = gr.HTML()
                self.edits = results("Edited pictures", "edited")
        self.image = gr.State(None)  # uint8 [size, size, 3], as the model sees it
        self.choice.follow(self.prompt)
        private: dict[str, Any] = {"api_visibility": "private"}
        self.file.change(self.open, self.file, [self.image, self.editor], **private)
        self.take.click(self.take_generated, made, [self.image, self.editor], **private)
        asked = [self.image, self.editor, self.prompt, self.choice.dropdown, self.seed, self.count]
        self.go.click(self.edit, asked, [self.edits, self.said], **ONE_AT_A_TIME, **private)

    @show_errors
    def open(self, file: str | None):
        if not file:
            return gr.skip(), gr.skip()
        return _shown(square(Path(file), self.model.image_size))

    @show_errors
    def take_generated(self, made: list[Image.Image]):
        if not made:
            raise UserError("Nothing has been generated yet: do so in the tab Use, or give a picture here.")
        return _shown(np.asarray(made[0]))

    @show_errors
    def edit(self, image, drawn, prompt, labels, seed, count):
        """Generate the brushed part anew."""
        if image is None:
            raise UserError("There is no picture yet: give one, and brush over a part of it.")
        edits, notes = self.model.edit(
            image, brushed(drawn, len(image)), prompt, self.words.find(labels or []), seed, count
        )
        return edits, notes_of(notes)


def _shown(image: np.ndarray) -> tuple[np.ndarray, dict]:
    large = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return image, {"background": large, "layers": [], "composite": None}


def brushed(drawn: dict | None, size: int) -> np.ndarray:
    """Return the mask that the brush has drawn: bool [size, size]."""
    mask = np.zeros((size, size), dtype=bool)
    for layer in (drawn or {}).get("layers", []):
        alpha = Image.fromarray(layer[..., 3]).resize((size, size), Image.Resampling.BOX)
        mask |= np.asarray(alpha) >= 128
    return mask
