"""Trainings that the page starts: each is scripts/train.py in a process of its own, in its own run folder. Everything
that is known of one is read from its folder, so that a closed tab or a new start of the page loses nothing."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import psutil

from ldm.errors import UserError
from ldm.files import read_json, write_json
from ldm.training.callbacks import read_rows
from textual_inversion.callbacks import SHEET

from ..shell import SCRIPTS
from .requests import LearningRequest
from .uploads import Uploads, copy_pictures

RECORD, OUTPUT = "app.json", "output.txt"  # beside the files of the training itself
TAIL = 8192  # bytes of the output that are searched for an error


@dataclass(frozen=True)
class State:
    """What is known of a training. `phase` is running, finished, stopped or failed; `said` is why it failed. `losses`
    are (step, loss), `previews` (step, file)."""

    phase: str
    step: int
    steps: int
    seconds_left: float | None
    said: str
    losses: tuple[tuple[int, float], ...]
    previews: tuple[tuple[int, Path], ...]
    sheet: Path | None


class Trainings:
    """The trainings in the run folders below `folder`. `given` are settings for all of them, such as the scale;
    `templates` are the templates for things."""

    def __init__(self, folder: Path, given: Sequence[str], templates: str) -> None:
        self.folder, self.given, self.templates = Path(os.path.abspath(folder)), list(given), templates
        self._children: list[subprocess.Popen] = []
        self._seen: dict[tuple[Path, int], tuple[int, float]] = {}  # (run, process) -> the first step seen, and when

    def runs(self) -> dict[str, Path]:
        """Return name -> folder of all trainings, the newest first."""
        began = {path.parent: (read_json(path) or {}).get("began", 0.0) for path in self.folder.glob(f"*/{RECORD}")}
        return {run.name: run for run in sorted(began, key=lambda run: began[run], reverse=True)}

    def running(self) -> str | None:
        """Return the name of the training that runs now, or None."""
        return next((name for name, run in self.runs().items() if self._process(run)), None)

    def start(self, request: LearningRequest, uploads: Uploads) -> str:
        """Start a training in a new folder and return its name. Raises UserError if one is running already."""
        with self._alone():
            run = self._new_folder(request.initializer.lower())
            try:
                copy_pictures(uploads, run / "pictures")
                overrides = request.overrides(run, self.given, self.templates)
                self._run(run, {"overrides": overrides, "steps": request.steps})
            except BaseException:
                shutil.rmtree(run)
                raise
        return run.name

    def go_on(self, name: str) -> None:
        """Start a stopped training again; it goes on from its last state. Raises UserError if one is running."""
        run = self.find(name)
        with self._alone():
            self._run(run, read_json(run / RECORD) or {})

    def stop(self, name: str) -> None:
        """Ask a training to save its state and end. It does so after its current step."""
        process = self._process(self.find(name))
        if process:
            with suppress(psutil.NoSuchProcess):
                process.terminate()

    def find(self, name: str) -> Path:
        """Return the folder of the training with that name. Raises UserError for a name that is none."""
        run = self.runs().get(name)
        if run is None:
            raise UserError(f"There is no training called {name!r}: load the page again.")
        return run

    def state(self, name: str) -> State:
        run = self.find(name)
        record, process = read_json(run / RECORD) or {}, self._process(run)
        rows = [(int(float(row["step"])), float(row["train/loss"])) for row in read_rows(run / "metrics.csv")
                if "train/loss" in row]  # fmt: skip
        previews = sorted((int(path.stem[2:]), path) for path in run.glob("previews/0-*.png"))
        step = max((rows[-1:] or [(0, 0.0)])[0][0], (previews[-1:] or [(0, run)])[0][0])
        sheet = run / SHEET if (run / SHEET).is_file() else None
        said = "" if process else self._error(run)
        phase = "running" if process else "failed" if said else "finished" if sheet else "stopped"
        steps = int(record.get("steps", step))
        left = self._seconds_left(run, process.pid, step, steps) if process else None
        return State(phase, step, steps, left, said, tuple(rows), tuple(previews), sheet)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A block in which nobody else starts a training, in this process or another. Raises UserError if one runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.folder / ".start.lock"):
            if name := self.running():
                raise UserError(
                    f"{name} is being learned, and only one word is learned at a time: wait, or stop it first."
                )
            yield

    def _new_folder(self, word: str) -> Path:
        number = 1
        while True:
            run = self.folder / f"{word}-{number}"
            try:
                run.mkdir()
                return run
            except FileExistsError:
                number += 1

    def _run(self, run: Path, record: dict[str, Any]) -> None:
        command = [sys.executable, str(SCRIPTS / "train.py"), *record["overrides"]]
        with (run / OUTPUT).open("wb") as output:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._children = [known for known in self._children if known.poll() is None] + [child]
        created = psutil.Process(child.pid).create_time()
        write_json(run / RECORD, record | {"pid": child.pid, "created": created, "began": time.time()})

    def _process(self, run: Path) -> psutil.Process | None:
        """Return the process that trains in the folder, if it is alive."""
        record = read_json(run / RECORD) or {}
        for child in self._children:
            child.poll()  # otherwise a child that has ended stays as a zombie
        with suppress(psutil.Error, KeyError, TypeError, ValueError):
            process = psutil.Process(record["pid"])
            if process.create_time() == record["created"] and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _error(self, run: Path) -> str:
        """Return the error with which the last process in the folder ended, or an empty text."""
        with suppress(OSError):
            text = (run / OUTPUT).read_bytes()[-TAIL:].decode(errors="replace")
            return next(iter(re.findall(r"^(?:error: )(.+)$", text, re.MULTILINE)[-1:]), "")
        return ""

    def _seconds_left(self, run: Path, pid: int, step: int, steps: int) -> float | None:
        if not step:
            return None
        first, since = self._seen.setdefault((run, pid), (step, time.monotonic()))
        done = step - first
        return (time.monotonic() - since) / done * (steps - step) if done else None
