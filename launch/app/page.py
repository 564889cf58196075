"""Put the page together and serve it to this machine only."""

import logging
import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldm.errors import UserError

from ..jobs import own_overrides
from .model import PageModel
from .trainings import Trainings
from .uploads import BYTES
from .words import Words

log = logging.getLogger("app")

HOST = "127.0.0.1"
OWN = ("port", "folder")  # settings of the page that scripts/train.py does not have
CSS = """
.note { border-left: 4px solid #888; padding: 0.4em 0.8em; margin: 0.3em 0; overflow-wrap: anywhere; }
.note p { margin: 0.2em 0; }
.note.warning { border-color: #d98e00; } .note.error { border-color: #c62828; } .note.info { border-color: #2e7d32; }
.bar { height: 8px; border-radius: 4px; background: #8884; overflow: hidden; }
.bar div { height: 100%; background: #2e7d32; }
/* Galleries are as high as their pictures, and their label covers none. */
.gallery-container .grid-wrap { min-height: 0; max-height: none; padding-top: 2.2em; }
@media (max-width: 640px) {
  #crops .grid-container, #previews .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)) !important; }
}
.figure .image-container { padding-top: 2.2em; }
footer { display: none !important; }
"""


def serve(config: DictConfig) -> None:
    """Serve the page until Ctrl-C. Raises UserError if Gradio is not installed, or if the port is taken."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio asks itself whether it is there
    themes = import_gradio().themes
    require_free(config.port)
    given = [override for override in own_overrides() if override.partition("=")[0] not in OWN]
    theme = themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    theme.set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300")
    with tempfile.TemporaryDirectory(prefix="page-") as downloads:
        page = build(config, given, Path(downloads))
        page.queue(api_open=False).launch(
            server_name=HOST,
            server_port=config.port,
            share=False,
            inbrowser=False,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            max_file_size=BYTES,
            footer_links=[],
            css=CSS,
            theme=theme,
        )
        log.info("the page is at %s; Ctrl-C ends it, and a training goes on without it", page.local_url)
        try:
            threading.Event().wait()
        finally:
            page.close(verbose=False)


def require_free(port: int) -> None:
    """Raise UserError if the port cannot be used."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except (OSError, OverflowError):
        raise UserError(f"port {port} of {HOST} cannot be used: choose another one, such as port=7870.") from None


def import_gradio() -> Any:
    """Import Gradio with its messages home switched off."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("MPLBACKEND", "Agg")  # plots are made outside of the main thread
    try:
        import gradio
    except ModuleNotFoundError:
        raise UserError("the page needs Gradio: pip install -e '.[app]' installs it.") from None
    return gradio


def build(config: DictConfig, given: list[str], downloads: Path):
    """Return the page as Gradio's blocks. `given` are settings for its trainings, such as the scale."""
    import gradio as gr

    from .edit import Edit
    from .learn import Learn
    from .read import Read
    from .use import Use

    model = PageModel(config)
    text = model.ldm.text_encoder
    words = Words([Path(config.folder), Path("runs")], text.width)
    trainings = Trainings(Path(config.folder), given, _templates(config))
    with gr.Blocks(title="Textual inversion", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# Textual inversion\nLearn a word from pictures, and use it in sentences.")
        with gr.Tab("Learn") as learn_tab:
            learn = Learn(trainings, model, config.trainer.max_steps)
        with gr.Tab("Use") as use_tab:
            use = Use(model, words, downloads)
        with gr.Tab("Edit") as edit_tab:
            edit = Edit(model, words, use.made)
        with gr.Tab("Read") as read_tab:
            read = Read(model, words)
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        page.load(learn.open, None, learn.run, **quiet)
        learn_tab.select(learn.watch, None, learn.timer, **quiet)
        for tab, choices in ((use_tab, (use.choice, use.one)), (edit_tab, (edit.choice,)), (read_tab, (read.choice,))):
            tab.select(learn.look_away, None, learn.timer, **quiet)
            for choice in choices:
                tab.select(choice.refresh, choice.dropdown, choice.dropdown, **quiet)
    return page


def _templates(config: DictConfig) -> str:
    """Return the templates for things: the paper's for the published models, and for the small ones those without what
    they would draw."""
    return "toyland" if config.name in ("toyland", "tiny") else "object_27"
