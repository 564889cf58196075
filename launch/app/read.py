"""The tab Read: what is in a learned word, as scripts/read_word.py shows it."""

from html import escape

import gradio as gr

from ldm.errors import UserError

from .messages import show_errors
from .model import FIGURES, PageModel
from .use import ONE_AT_A_TIME, Choice
from .words import Words


class Read:
    """The components of the tab."""

    def __init__(self, model: PageModel, words: Words) -> None:
        self.model, self.words = model, words
        self.choice = Choice(words, several=False, label="Word")
        self.go = gr.Button("Read the word", variant="primary")
        self.said = gr.HTML()
        self.figures = [
            gr.Image(
                label=caption, visible=False, interactive=False, buttons=["download", "fullscreen"],
                elem_classes="figure",
            )
            for caption in FIGURES.values()
        ]  # fmt: skip
        self.go.click(
            self.read, self.choice.dropdown, [self.said, *self.figures], **ONE_AT_A_TIME, api_visibility="private"
        )

    @show_errors
    def read(self, label: str | None):
        """Read the word with this label."""
        if not label:
            raise UserError("There is no word yet: learn one in the tab Learn.")
        (word,) = self.words.find([label])
        figures, numbers = self.model.read(word)
        said = "".join(_sentence(name, vector) for name, vector in numbers["vectors"].items())
        return said, *(gr.Image(figures.get(name), visible=name in figures) for name in FIGURES)


def _sentence(name: str, vector: dict) -> str:
    near = ", ".join(f"{word} ({cosine:.2f})" for word, cosine in list(vector["nearest"].items())[:4])
    longer = 100.0 * vector["share_of_shorter_words"]
    return (
        f"<p><b>{escape(name)}</b>: nearest are {escape(near)}. Its length is {vector['norm']:.2f}, more than that of "
        f"{longer:.0f}% of the model's words.</p>"
    )
