"""What the page tells the person before it: the sentence of an error, and notes."""

import functools
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from ..failures import explain, report


def show_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an action of the page so that the page shows the sentence of its error, until it is closed. The traceback of
    a bug goes into the log of the page."""

    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            said = escape(_sentence(explain(error) or report(error)))
            raise gr.Error(said, duration=None, print_exception=False) from None

    return wrapper


def note(kind: str, *lines: str) -> str:
    """Return the HTML of a note of `kind` info, warning or error, one paragraph a line."""
    return f'<div class="note {kind}">{"".join(f"<p>{escape(line)}</p>" for line in lines)}</div>' if lines else ""


def notes_of(said: Sequence[str]) -> str:
    """Return the HTML of what the model has said about a prompt."""
    return note("warning", *(f"{_sentence(line)}." for line in said))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
