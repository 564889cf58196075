"""The tab Use: learned words in prompts, and their files for other tools."""

from pathlib import Path
from typing import Any

import gradio as gr

from ldm.errors import UserError

from .messages import note, notes_of, show_errors
from .model import MOST_IMAGES, MOST_LETTERS, MOST_PROMPTS, SAMPLERS, PageModel, collect_messages
from .words import FORMATS, Words, write_for

PROMPT = "a photo of S* on the moon"
ONE_AT_A_TIME: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}  # of everything that uses the model


def results(label: str, name: str) -> gr.Gallery:
    """Return a gallery for pictures that the model has made; `name` is its name on the page."""
    return gr.Gallery(
        label=label, columns=2, height="auto", object_fit="contain", format="png", interactive=False,
        buttons=["download", "fullscreen"], elem_id=name,
    )  # fmt: skip


class Choice:
    """A list of the learned words to choose from, one or several, and what they are called in prompts."""

    def __init__(self, words: Words, several: bool, label: str) -> None:
        self.words, self.several = words, several
        self.dropdown = gr.Dropdown([], value=[] if several else None, multiselect=several, label=label)
        if several:
            self.hint, self.names = gr.HTML(), gr.State(["S*"])

    def refresh(self, chosen: list[str] | str | None):
        """Offer the words that there are now. Without a chosen one, choose the newest."""
        known = list(self.words.all())
        labels = [chosen] if isinstance(chosen, str) else chosen or []
        kept = [label for label in labels if label in known] or known[:1]
        return gr.Dropdown(known, value=kept if self.several else next(iter(kept), None))

    def follow(self, prompts: gr.Textbox) -> None:
        """Keep the names of the chosen words in the prompts."""
        self.dropdown.change(
            self.name, [self.dropdown, prompts, self.names], [self.hint, prompts, self.names],
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip

    @show_errors
    def name(self, labels: list[str], prompts: str, before: list[str]) -> tuple[str, str, list[str]]:
        """Say what the words are called in prompts. The name of another single word is replaced in the prompts."""
        names = [word.placeholder for word in self.words.find(labels or [])]
        if len(names) == len(before) == 1:
            prompts = prompts.replace(before[0], names[0])
        if len(names) > 1:
            hint = [f"In prompts, {name} is {label}." for name, label in zip(names, labels, strict=True)]
        else:
            hint = [] if names else ["Without a learned word, the model is used as it is."]
        return note("info", *hint), prompts, names or before


class Use:
    """The components of the tab. `downloads` is a folder for files that are downloaded."""

    def __init__(self, model: PageModel, words: Words, downloads: Path) -> None:
        self.model, self.words, self.downloads = model, words, downloads
        with gr.Row():
            with gr.Column():
                self.choice = Choice(words, several=True, label="Learned words")
                self.prompts = gr.Textbox(
                    PROMPT, label="Prompts, one on each line", lines=2, max_length=MOST_PROMPTS * MOST_LETTERS
                )
                self.count = gr.Slider(1, MOST_IMAGES, 4, step=1, label="Pictures of each prompt")
                with gr.Accordion("More settings", open=False):
                    self.sampler = gr.Dropdown(SAMPLERS, value="dpm_solver", label="Sampler", filterable=False)
                    self.guidance = gr.Number(model.guidance, label="Guidance")
                    self.seed = gr.Number(0, label="Seed", precision=0, minimum=0)
                self.go = gr.Button("Generate", variant="primary")
                with gr.Accordion("Download a word", open=False):
                    self.one = Choice(words, several=False, label="Word")
                    self.form = gr.Dropdown(list(FORMATS), value=next(iter(FORMATS)), label="For", filterable=False)
                    self.about_file = gr.HTML()
                    self.download = gr.DownloadButton("Download", interactive=False)
            with gr.Column():
                self.said = gr.HTML()
                self.images = results("Generated pictures", "generated")
        self.made = gr.State([])  # the last generated pictures, for the tab Edit
        self._connect()

    def _connect(self) -> None:
        private: dict[str, Any] = {"api_visibility": "private"}
        self.choice.follow(self.prompts)
        asked = [self.choice.dropdown, self.prompts, self.sampler, self.guidance, self.seed, self.count]
        self.go.click(self.generate, asked, [self.images, self.said, self.made], **ONE_AT_A_TIME, **private)
        for chosen in (self.one.dropdown, self.form):
            chosen.change(
                self.write, [self.one.dropdown, self.form], [self.download, self.about_file],
                show_progress="hidden", **private,
            )  # fmt: skip

    @show_errors
    def generate(self, labels, prompts, sampler, guidance, seed, count):
        """Generate pictures of every prompt."""
        words = self.words.find(labels or [])
        images, captions, notes = self.model.generate(prompts, words, sampler, guidance, seed, count)
        several = len(set(captions)) > 1
        shown = list(zip(images, captions, strict=True)) if several else images
        return shown, notes_of(notes), images

    @show_errors
    def write(self, label: str | None, form: str):
        """Write the file that the button downloads."""
        if not label:
            return gr.DownloadButton(value=None, interactive=False), ""
        (word,) = self.words.find([label])
        try:
            with collect_messages() as notes:
                path = write_for(word, form, self.downloads)
        except UserError as error:
            return gr.DownloadButton(value=None, interactive=False), note("error", str(error))
        return gr.DownloadButton(value=path, interactive=True), notes_of(notes)
