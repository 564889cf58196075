"""Compares the folders of two runs of the same command: files, tensors, rows, and what they say about themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ldm.training.resumption import read_state
from textual_inversion.words.file import load_words

STATE = ("global_step", "state_dict", "optimizer_states", "lr_schedulers", "settings", "changes")


def differences(one: Path, other: Path) -> list[str]:
    """Return what differs between two runs, file by file. Dates, logs, the state of jobs' processes and the folders'
    own names may differ."""
    files = [{str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()} for run in (one, other)]
    found = [f"{name} is missing" for name in sorted(files[0] - files[1])]
    found += [f"{name} is there" for name in sorted(files[1] - files[0])]
    for name in sorted(files[0] & files[1]):
        path = Path(name)
        if path.suffix == ".log":
            continue
        read = READERS.get(path.name) or READERS.get(path.suffix) or Path.read_bytes
        if not _same(_plain(read(one / path), one), _plain(read(other / path), other)):
            found.append(f"{name} differs")
    return found


def _word(path: Path) -> Any:
    return [(word.placeholder, word.vectors, {**word.provenance, "date": ""}) for word in load_words(path)]


def _state(path: Path) -> Any:
    state = read_state(path)
    return {name: state.get(name) for name in STATE}


def _job(path: Path) -> Any:
    return {**json.loads(path.read_text(encoding="utf-8")), "pid": 0}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _sweep(path: Path) -> Any:
    return {name: value for name, value in json.loads(_text(path)).items() if name != "id"}


READERS: dict[str, Callable[[Path], Any]] = {
    "learned_embeds.safetensors": _word, "last.ckpt": _state, "job.json": _job, "sweep.json": _sweep,
    ".yaml": _text, ".json": _text, ".csv": _text,
}  # fmt: skip


def _plain(value: Any, folder: Path) -> Any:
    """Replace the folder of the run, and of the other runs beside it, in all texts."""
    if isinstance(value, str):
        return value.replace(str(folder), "RUN")
    if isinstance(value, dict):
        return {name: _plain(child, folder) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child, folder) for child in value]
    return value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other
