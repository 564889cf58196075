"""The tab Learn: pictures become a word. The training runs in a process of its own; the tab only watches its folder."""

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from PIL import Image

from ldm.errors import UserError

from .messages import note, show_errors
from .model import PageModel
from .requests import MOST_STEPS, LearningRequest, setups
from .trainings import State, Trainings
from .uploads import FEWEST, MOST, Uploads, read_uploads, require_enough

EVERY = 1.0  # seconds between two looks at the folder
THING, STYLE = "a thing", "a style"


class Learn:
    """The components of the tab. `trainings` start and watch; `steps` is the number that is proposed."""

    def __init__(self, trainings: Trainings, model: PageModel, steps: int) -> None:
        self.trainings, self.model = trainings, model
        with gr.Row():
            with gr.Column():
                self._ask(steps)
            with gr.Column():
                self._watch()
        self._connect()

    def _ask(self, steps: int) -> None:
        self.files = gr.File(label=f"{FEWEST} to {MOST} pictures", file_count="multiple", height=200)
        self.found = gr.HTML()
        self.crops = gr.Gallery(
            label="What the model will see", columns=5, height="auto", object_fit="contain", visible=False,
            interactive=False, buttons=[], elem_id="crops",
        )  # fmt: skip
        self.initializer = gr.Dropdown(
            self.model.initializers, value=None, allow_custom_value=True, label="What do they show?",
            info="One word that the model knows. The learning starts from it.",
        )  # fmt: skip
        self.kind = gr.Radio([THING, STYLE], value=THING, label="What is learned")
        self.placeholder = gr.Textbox(
            "S*", label="Name of the new word", info="You write this name in prompts.", max_length=30
        )
        self.steps = gr.Number(
            steps, label="Steps", info="More steps show the thing better, and take longer.", precision=0, minimum=1,
            maximum=MOST_STEPS,
        )  # fmt: skip
        with gr.Accordion("More settings", open=False):
            self.setup = gr.Dropdown(list(setups()), value="one", label="Setup", filterable=False)
            self.about_setup = gr.Markdown(setups()["one"])
            about_rate = "Empty: that of the setup. The shipped model needs 0.002 for photographs."
            self.rate = gr.Number(None, label="Learning rate", info=about_rate, minimum=0)
            self.seed = gr.Number(0, label="Seed", precision=0, minimum=0)
        self.start = gr.Button("Learn the word", variant="primary")

    def _watch(self) -> None:
        self.run = gr.Dropdown(list(self.trainings.runs()), value=None, label="Training", filterable=False)
        self.status = gr.HTML(elem_id="status")
        with gr.Row():
            self.stop = gr.Button("Stop", variant="stop", visible=False)
            self.go_on = gr.Button("Go on", visible=False)
        self.previews = gr.Gallery(
            label="The word during the learning", columns=4, height="auto",
            object_fit="contain", visible=False, interactive=False, buttons=[], elem_id="previews",
        )  # fmt: skip
        self.losses = gr.LinePlot(x="step", y="loss", height=180, label="Loss", visible=False, buttons=[])
        self.sheet = gr.Image(
            label="The pictures, the learning, and the word in new sentences", show_label=False, visible=False,
            interactive=False, buttons=["download", "fullscreen"], elem_id="sheet",
        )  # fmt: skip
        self.shown = gr.State(None)  # what the tab of this browser shows, so that it is not sent again
        self.timer = gr.Timer(EVERY)

    @property
    def _view(self) -> list[Any]:
        return [self.run, self.status, self.stop, self.go_on, self.previews, self.losses, self.sheet, self.shown]

    def _connect(self) -> None:
        hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.files.change(self.check, self.files, [self.found, self.crops, self.start], **hidden)
        self.setup.change(lambda name: setups().get(name, ""), self.setup, self.about_setup, **hidden)
        asked = [self.files, self.initializer, self.kind, self.placeholder, self.steps, self.setup]
        self.start.click(self.begin, [*asked, self.rate, self.seed], self.run, concurrency_limit=1, **hidden)
        self.run.change(self.show, [self.run, self.shown], self._view, **hidden)
        self.timer.tick(self.show, [self.run, self.shown], self._view, concurrency_limit=None, **hidden)
        self.stop.click(self.halt, self.run, None, **hidden)
        self.go_on.click(self.resume, self.run, None, **hidden)

    @show_errors
    def check(self, files: list[str] | None) -> tuple:
        """Show the pictures as the model will see them, and say what is skipped."""
        if not files:
            return "", gr.Gallery(visible=False), gr.Button(interactive=True)
        try:
            uploads = self._read(files)
        except UserError as error:
            return note("error", str(error)), gr.Gallery(visible=False), gr.Button(interactive=False)
        lines = [f"{len(uploads.images)} pictures are used."]
        lines += [f"{name} is skipped: {reason}." for name, reason in uploads.skipped]
        kind = "warning" if uploads.skipped else "info"
        try:
            require_enough(uploads)
        except UserError as error:
            lines, kind = [*lines[1:], str(error)], "error"
        crops = gr.Gallery(uploads.images, visible=bool(uploads.images))
        return note(kind, *lines), crops, gr.Button(interactive=kind != "error")

    def _read(self, files: list[str]) -> Uploads:
        return read_uploads([Path(file) for file in files], self.model.image_size)

    @show_errors
    def begin(self, files, initializer, kind, placeholder, steps, setup, rate, seed):
        """Start a training."""
        if not files:
            raise UserError(f"There are no pictures yet: drop {FEWEST} to {MOST} of them first.")
        if not initializer:
            raise UserError("Say in one word what the pictures show, such as 'cat': the learning starts from it.")
        request = LearningRequest(placeholder, initializer.strip(), kind == STYLE, setup, steps, rate or None, seed)
        self.model.require_known(request.initializer)
        uploads = self._read(files)
        require_enough(uploads)
        name = self.trainings.start(request, uploads)
        return gr.Dropdown(list(self.trainings.runs()), value=name)

    @show_errors
    def halt(self, name: str | None) -> None:
        if name:
            self.trainings.stop(name)

    @show_errors
    def resume(self, name: str | None) -> None:
        if name:
            self.trainings.go_on(name)

    def open(self):
        """Show the training that runs, or the last one, when the page is loaded."""
        runs = list(self.trainings.runs())
        return gr.Dropdown(runs, value=self.trainings.running() or next(iter(runs), None))

    def watch(self):
        """Look at the folder every second."""
        return gr.Timer(active=True)

    def look_away(self):
        """Do not look while another tab is shown: at every look, Gradio's editor of images would send its image."""
        return gr.Timer(active=False)

    @show_errors
    def show(self, name: str | None, shown: Any) -> tuple:
        """Show the training, or one that another tab has started since. Returns nothing new if `shown` says that the
        browser shows it already."""
        runs = list(self.trainings.runs())
        known = shown[0] if shown else runs
        started = [run for run in runs if run not in known and run == self.trainings.running()]
        name = next(iter(started), name)
        if name not in runs:
            return (
                gr.skip(),
                "Nothing has been learned here yet.",
                *(gr.skip() for _ in self._view[3:]),
                (runs, "", None),
            )
        state = self.trainings.state(name)
        now = (runs, name, state)
        if now == shown:
            return tuple(gr.skip() for _ in self._view)
        before = shown[2] if shown and shown[1] == name else None
        pictures = gr.skip()
        if before is None or before.previews != state.previews:
            pictures = gr.Gallery(
                [(_pixels(path), f"step {step}") for step, path in state.previews], visible=bool(state.previews)
            )
        losses, sheet = gr.skip(), gr.skip()
        if before is None or before.losses != state.losses:
            table = pd.DataFrame(state.losses, columns=["step", "loss"])
            losses = gr.LinePlot(table, visible=len(table) > 1)
        if before is None or before.sheet != state.sheet:
            sheet = gr.Image(_pixels(state.sheet) if state.sheet else None, visible=state.sheet is not None)
        return (
            gr.Dropdown(runs, value=name) if shown is None or started or known != runs else gr.skip(),
            status_of(name, state),
            gr.Button(visible=state.phase == "running"),
            gr.Button(visible=state.phase in ("stopped", "failed")),
            pictures,
            losses,
            sheet,
            now,
        )


def _pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def status_of(name: str, state: State) -> str:
    """Return the HTML that says how far a training is."""
    share = state.step / state.steps if state.steps else 0.0
    loss = f", loss {state.losses[-1][1]:.3f}" if state.losses else ""
    at = f"step {state.step} of {state.steps}{loss}"
    if state.phase == "running":
        if not state.step and not state.previews:
            said = "starts: the model is loaded, and the pictures are encoded"
        elif state.step >= state.steps:
            said = "has learned; the sheet of pictures is made"
        else:
            left = f", about {_duration(state.seconds_left)} left" if state.seconds_left is not None else ""
            said = f"learns: {at}{left}"
    else:
        said = {
            "finished": f"is learned: {at}. Use it in the tab Use",
            "stopped": f"was stopped at {at}. “Go on” continues from there",
            "failed": f"could not be learned: {state.said.rstrip('.')}",
        }[state.phase]
    bar = f'<div class="bar"><div style="width: {100 * share:.1f}%"></div></div>'
    kind = "error" if state.phase == "failed" else "info"
    return f'<div data-phase="{state.phase}" data-step="{state.step}">{note(kind, f"{name} {said}.")}{bar}</div>'


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
