"""Learned words on disk: a safetensors file with one tensor per placeholder, its metadata says where each came from.
Words of other tools are read, too (`embedding_formats`)."""

import json
import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ldm.files import write_whole
from ldm.weights.family import OF_WIDTH
from ldm.weights.file_kind import file_kind

from ..concept import Concept
from .formats import words_of_other_tools

log = logging.getLogger(__name__)

FILE_NAME = "learned_embeds.safetensors"
FORMAT, FORMAT_VERSION = "textual_inversion", 1


@dataclass(frozen=True, eq=False)
class LearnedWord:
    """A placeholder with its own copy of the `vectors` [k, d], float32 on the CPU, and `provenance`, what is known of
    their making as JSON values; see `provenance()`. Raises ValueError if a number is not finite."""

    placeholder: str
    vectors: Tensor
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.placeholder.strip() or self.placeholder == "__metadata__":
            raise ValueError(f"{self.placeholder!r} cannot be the name of a learned word")
        vectors = self.vectors.detach().to("cpu", torch.float32, copy=True).contiguous()
        if vectors.ndim != 2 or not vectors.numel():
            raise ValueError(f"the vectors of {self.placeholder!r} have shape {list(vectors.shape)}, not [k, width]")
        bad = int((~vectors.isfinite()).sum())
        if bad:
            raise ValueError(f"{bad} of the {vectors.numel()} numbers of {self.placeholder!r} are NaN or infinite")
        object.__setattr__(self, "vectors", vectors)


def provenance(concept: Concept, *, steps: int, model: str, fingerprint: str) -> dict[str, Any]:
    """What to write beside a word learned in `steps` optimiser steps: `model` is the frozen model's name for people,
    `fingerprint` identifies its weights."""
    return {
        "initializer": concept.initializer,
        "num_vectors": concept.num_vectors,
        "learning_rate": concept.learning_rate,
        "seed": concept.seed,
        "steps": steps,
        "model": model,
        "model_fingerprint": fingerprint,
        "versions": {name: version(name) for name in ("textual-inversion-ldm", "torch")}
        | {"python": platform.python_version()},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def save_words(path: Path, words: Sequence[LearnedWord]) -> None:
    """Writes the words to `path`, the whole file or nothing."""
    placeholders = [word.placeholder for word in words]
    if not words or len(set(placeholders)) < len(placeholders):
        raise ValueError(f"a file holds one or more words, each under a name of its own, not {placeholders}")
    origins = {word.placeholder: {**word.provenance, "width": word.vectors.shape[1]} for word in words}
    metadata = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "words": json.dumps(origins, allow_nan=False)}
    content = save({word.placeholder: word.vectors for word in words}, metadata)
    write_whole(Path(path), content)


def load_words(path: Path, width: int | None = None, fingerprint: str | None = None) -> tuple[LearnedWord, ...]:
    """The words in a file of this or of another tool, or in the `learned_embeds.safetensors` of a run folder, in the
    order they were saved in.
    Raises ValueError if there are none, if the file is not what it should be, or if the vectors do not have `width`
    numbers, when that is given; warns of words learned in a model of another `fingerprint`, when that is given."""
    file = find_file(Path(path))
    words = _read(file)
    for word in words:
        found = word.vectors.shape[1]
        if width is not None and found != width:
            model = word.provenance.get("model") or OF_WIDTH.get(found, "another model")
            raise ValueError(
                f"{file}: the word {word.placeholder!r} has {found} numbers per vector, the model's words have {width}"
                f"; it was learned for {model}. Use that model, or learn the word again with this one."
            )
        if fingerprint is not None and word.provenance.get("model_fingerprint", fingerprint) != fingerprint:
            log.warning(
                "%s: the word %r was learned in other weights than these, where it may mean something else",
                file,
                word.placeholder,
            )
    return words


def find_file(path: Path) -> Path:
    """The file that `path` means: itself, or the one in that run folder. Raises ValueError that lists what is near."""
    file = path / FILE_NAME if path.is_dir() else path
    if file.is_file():
        return file
    near = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    found = sorted(str(hit) for pattern in ("*", "*/*", "*/*/*") for hit in near.glob(f"{pattern}.safetensors"))
    hint = f"Near it are: {', '.join(found[:8])}" if found else "Give a run folder, or a file of learned words"
    raise ValueError(f"there are no learned words at {file}. {hint}.")


def _read(path: Path) -> tuple[LearnedWord, ...]:
    if file_kind(path) == "safetensors":
        words = _read_own(path)
        if words is not None:
            return words
    read = words_of_other_tools(path)
    try:
        return tuple(LearnedWord(name, vectors, origin) for name, (vectors, origin) in read.items())
    except ValueError as error:
        raise ValueError(f"{path} is unusable: {error}") from error


def _read_own(path: Path) -> tuple[LearnedWord, ...] | None:
    """None if another tool has made the file."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- it is no dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is broken ({error}): copy or learn it again") from error
    found = metadata.get("format_version")
    if found != str(FORMAT_VERSION):
        raise ValueError(f"{path} has format version {found}, this code reads {FORMAT_VERSION}: update the code")
    try:
        origins = json.loads(metadata["words"])
        return tuple(LearnedWord(name, tensors[name], origin) for name, origin in origins.items())
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is unusable: {error}") from error
