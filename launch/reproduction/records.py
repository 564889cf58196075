"""The record of a cell, cell.json: its state, and the commit of the code that computed it."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from ldm.errors import UserError
from ldm.files import read_json, write_json
from textual_inversion.evaluation.evaluation import read_result
from textual_inversion.words.file import load_words

CELL = "cell.json"


@cache
def commit() -> str:
    """Return the commit of the running code, with a suffix if files have changed since; "unknown" without git."""
    try:
        asked = {"capture_output": True, "text": True, "check": True, "cwd": Path(__file__).parent}
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], **asked).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], **asked).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+changes" if changed else "")


def record_of(folder: Path) -> dict[str, Any]:
    """Read the record of a cell; empty if it was never run, or if the record is broken."""
    record = read_json(folder / CELL)
    return record if isinstance(record, dict) else {}


def is_done(folder: Path, file: str) -> bool:
    """Return whether the cell is finished and its file can be read."""
    record = record_of(folder)
    return record.get("state") == "finished" and "commit" in record and _is_whole(folder / file)


def _is_whole(file: Path) -> bool:
    """Return whether a word or an evaluation is there and can be read."""
    if file.suffix == ".json":
        return "structure" in (read_result(file) or {})  # evaluations of before it was measured run again
    try:
        return file.is_file() and bool(load_words(file))
    except UserError:
        return False


def finish(folder: Path, **found: float) -> None:
    """Record that the cell is finished, and what else was `found` about its run."""
    write_json(folder / CELL, {"state": "finished", "commit": commit(), **found})
