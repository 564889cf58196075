"""Learned words on disk: a safetensors file with one tensor per placeholder, and the provenance of each in its
metadata. `load_words` also reads the files of other tools (see `formats`)."""

import hashlib
import json
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ldm.errors import UserError
from ldm.files import write_whole
from ldm.versions import version_of
from ldm.weights.family import OF_WIDTH
from ldm.weights.reading import read_content

from ..concept import Concept
from ..mapper import Mapper
from .formats import words_of_other_tools

log = logging.getLogger(__name__)

FILE_NAME = "learned_embeds.safetensors"
# In a folder: of a run, of the public library of concepts, or of the official code.
FILE_NAMES = (FILE_NAME, "learned_embeds.bin", "learned_embeds.pt", "embeddings.pt")
NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FORMAT, FORMAT_VERSION = "textual_inversion", 1
FORMAT_VERSION_OF_LAYERS = 2  # of a file with a word that differs between layers: older code refuses it
OF_MAPPER = "\t"  # between a placeholder, in which no such symbol may be, and the name of a tensor of its mapper


@dataclass(frozen=True, eq=False)
class LearnedWord:
    """A placeholder with its own copy of the `vectors`, float32 on the CPU, their `provenance` as JSON values (see
    `provenance()`), and the `file` that they were loaded from or saved to (None: neither). The vectors are [k, d], or
    [k, layers, d] with one for each cross-attention layer of the UNet. `mapper` holds the tensors of the `Mapper` that
    makes v* from vectors [k, d] for each layer and timestep, if there is one. Raises UserError if the name or a shape
    is invalid, or if a number is not finite."""

    placeholder: str
    vectors: Tensor
    provenance: dict[str, Any] = field(default_factory=dict)
    file: Path | None = None
    mapper: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.placeholder.strip() or self.placeholder == "__metadata__" or not self.placeholder.isprintable():
            raise UserError(f"{self.placeholder!r} cannot be the name of a learned word")
        if self.vectors.dtype not in NUMBERS:
            raise UserError(f"the vectors of {self.placeholder!r} are of the type {self.vectors.dtype}, not float")
        vectors = self.vectors.detach().to("cpu", torch.float32, copy=True).contiguous()
        if vectors.ndim not in (2, 3) or not vectors.numel():
            raise UserError(
                f"the vectors of {self.placeholder!r} have shape {list(vectors.shape)}, not [k, width] or [k, layers, "
                f"width]"
            )
        bad = int((~vectors.isfinite()).sum())
        if bad:
            raise UserError(f"{bad} of the {vectors.numel()} numbers of {self.placeholder!r} are NaN or infinite")
        object.__setattr__(self, "vectors", vectors)
        own = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in self.mapper.items()}
        object.__setattr__(self, "mapper", own)
        if own and (shape := Mapper.of(own).shape) != vectors.shape:
            raise UserError(f"its mapper is for vectors {list(shape)}, not {list(vectors.shape)}")

    @property
    def width(self) -> int:
        """The numbers per vector."""
        return self.vectors.shape[-1]

    @property
    def layers(self) -> int | None:
        """The number of layers that have vectors of their own; None if all layers read the same."""
        if self.mapper:
            return Mapper.layers_in(self.mapper)
        return self.vectors.shape[1] if self.vectors.ndim == 3 else None

    def named(self, placeholder: str) -> "LearnedWord":
        """Return the same word under another name."""
        return replace(self, placeholder=placeholder)

    def save(self, path: str | Path) -> None:
        """Write the word to a safetensors file, which becomes its `file`. The file is complete or absent."""
        save_words(Path(path), [self])
        object.__setattr__(self, "file", Path(path).absolute())

    @classmethod
    def load(cls, path: str | Path) -> "LearnedWord":
        """Return the word in a file of this or of another tool, or in a run folder. Raises UserError unless the file
        holds exactly one word (`load_words` reads several)."""
        word, *more = load_words(Path(path))
        if more:
            names = ", ".join(repr(each.placeholder) for each in (word, *more))
            raise UserError(
                f"{path} holds {1 + len(more)} words ({names}): take it apart with scripts/embeddings.py split."
            )
        return word

    @property
    def digest(self) -> str:
        """A hash of the numbers, 16 hex digits. It knows the word again under another name, and in another file."""
        content = str(list(self.vectors.shape)).encode() + self.vectors.numpy().tobytes()
        content += b"".join(self.mapper[name].numpy().tobytes() for name in sorted(self.mapper))
        return hashlib.sha256(content).hexdigest()[:16]

    @property
    def learned_for(self) -> str:
        """What is known of the model that the word was learned for."""
        model = self.provenance.get("model") or OF_WIDTH.get(self.width, f"a model of width {self.width}")
        return f"{model} or Stable Diffusion XL's second text encoder" if self._may_be_of_xl() else str(model)

    def _may_be_of_xl(self) -> bool:
        return self.width == 1280 and self.provenance.get("format") in ("A1111", "diffusers")

    def require_fit(self, width: int, fingerprint: str | None, source: str | Path) -> None:
        """Check the word against a model of that `width` and `fingerprint` (None: unchecked). Raises UserError for
        another width; warns if the word was learned with other weights. `source` is named in both messages."""
        if self.width != width:
            raise UserError(
                f"{source}: the word {self.placeholder!r} has {self.width} numbers per vector, the model's words have "
                f"{width}; it was learned for {self.learned_for}. Use that model, or learn the word again with this "
                f"one."
            )
        if self._may_be_of_xl():
            log.warning(
                "%s: the word %r may be for Stable Diffusion XL, whose second text encoder has as many numbers per "
                "vector: then it means nothing in this model",
                source,
                self.placeholder,
            )
        if fingerprint is not None and self.provenance.get("model_fingerprint", fingerprint) != fingerprint:
            log.warning(
                "%s: the word %r was learned with other weights, so it may mean something else in this model",
                source,
                self.placeholder,
            )

    def require_layers(self, layers: int) -> None:
        """Raise UserError if the word has vectors for another number of layers than the model's `layers`."""
        if self.layers not in (None, layers):
            raise UserError(
                f"the word {self.placeholder!r} has vectors for {self.layers} cross-attention layers, the model has "
                f"{layers}: use the model that it was learned for, or learn the word again with this one."
            )

    def require_no_mapper(self, purpose: str) -> None:
        """Raise UserError if the word has a mapper, which `purpose` cannot use."""
        if self.mapper:
            raise UserError(
                f"{self.placeholder!r} is a network of timestep and layer (setup=space_time), and {purpose} needs "
                f"vectors: take a word of another setup."
            )


def provenance(concept: Concept, *, steps: int, model: str, fingerprint: str) -> dict[str, Any]:
    """Return the provenance of a word learned in `steps` optimiser steps. `model` is a readable name of the frozen
    model; `fingerprint` identifies its weights."""
    return {
        "initializer": concept.initializer,
        **({"start": concept.start} if concept.start is not None else {}),
        "num_vectors": concept.num_vectors,
        "learning_rate": concept.learning_rate,
        "seed": concept.seed,
        "steps": steps,
        "model": model,
        "model_fingerprint": fingerprint,
        "versions": {name: version_of(name) for name in ("textual-inversion-ldm", "torch")}
        | {"python": platform.python_version()},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def save_words(path: Path, words: Sequence[LearnedWord]) -> None:
    """Write the words to `path`, atomically. Raises UserError if there are none, or if two have the same name."""
    placeholders = [word.placeholder for word in words]
    if not words or len(set(placeholders)) < len(placeholders):
        raise UserError(f"a file holds one or more words with different names, not {placeholders}")
    origins = {word.placeholder: {**word.provenance, "width": word.width} for word in words}
    version = FORMAT_VERSION if all(word.layers is None for word in words) else FORMAT_VERSION_OF_LAYERS
    metadata = {"format": FORMAT, "format_version": str(version), "words": json.dumps(origins, allow_nan=False)}
    mappers = {f"{word.placeholder}{OF_MAPPER}{key}": x for word in words for key, x in word.mapper.items()}
    content = save({word.placeholder: word.vectors for word in words} | mappers, metadata)
    write_whole(Path(path), content)


def load_words(path: Path, width: int | None = None, fingerprint: str | None = None) -> tuple[LearnedWord, ...]:
    """Load the words of a file of this or another tool, or of learned_embeds.safetensors in a run folder, in the order
    in which they were saved.

    Raises UserError if there are none, if the file cannot be read, or if the vectors do not have `width` numbers. Logs
    a warning if a word was learned with a model of another `fingerprint`. None skips either check."""
    file = find_file(Path(path))
    words = _read(file)
    for word in words:
        word.require_fit(width or word.width, fingerprint, file)
    return words


def is_own(file: Path) -> bool:
    """Return whether the file is in this project's own format."""
    return read_content(file)[1].get("format") == FORMAT


def find_file(path: Path) -> Path:
    """Return the file at `path`, or the one in the folder `path`, which is that of a run or of a concept that another
    tool has published. Raises UserError with the files nearby."""
    file = next((path / name for name in FILE_NAMES if (path / name).is_file()), path / FILE_NAME)
    if not path.is_dir():
        file = path
    if file.is_file():
        return file
    near = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    found = sorted(str(hit) for pattern in ("*", "*/*", "*/*/*") for hit in near.glob(f"{pattern}.safetensors"))
    hint = f"Near it are: {', '.join(found[:8])}" if found else "Give a run folder, or a file of learned words"
    raise UserError(f"there are no learned words at {file}. {hint}.")


def _read(path: Path) -> tuple[LearnedWord, ...]:
    content, metadata = read_content(path)
    try:
        if metadata.get("format") == FORMAT:
            read = _own(content, metadata)
        else:
            read = words_of_other_tools(path, content)
        return tuple(
            LearnedWord(name, vectors, origin, path.absolute(), _mapper_of(name, content))
            for name, (vectors, origin) in read.items()
        )
    except UserError as error:
        raise UserError(f"{path} is unusable: {error}") from error


def _mapper_of(name: str, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of the mapper of the word `name`, without its name; none if it has no mapper."""
    of_word = f"{name}{OF_MAPPER}"
    return {key.removeprefix(of_word): x for key, x in content.items() if str(key).startswith(of_word)}


def _own(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, tuple[Tensor, dict[str, Any]]]:
    """Return the vectors and the provenance of each word in a file in our format. Raises UserError."""
    found = metadata.get("format_version")
    if found not in (str(FORMAT_VERSION), str(FORMAT_VERSION_OF_LAYERS)):
        raise UserError(
            f"it has format version {found}, this code reads {FORMAT_VERSION} and {FORMAT_VERSION_OF_LAYERS}: update "
            f"the code"
        )
    try:
        origins = json.loads(metadata.get("words", ""), parse_constant=_refuse)
    except (ValueError, RecursionError):
        origins = None
    if not isinstance(origins, dict) or not origins or not all(isinstance(origin, dict) for origin in origins.values()):
        raise UserError("its metadata do not say where its words come from")
    if missing := origins.keys() - tensors.keys():
        raise UserError(f"the vectors of {min(missing)!r} are missing")
    return {name: (tensors[name], origin) for name, origin in origins.items()}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
