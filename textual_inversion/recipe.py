"""Recipes: everything that a picture was generated from. A recipe stands in the text of the picture's PNG file, and
`read_recipe` reads it again. A picture may come from anywhere, so its text is data: it is compared with a schema, and
names in it choose among the functions of `ldm.sampling` and nothing else."""

import inspect
import json
import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ldm import sampling
from ldm.errors import UserError
from ldm.images import save_png
from ldm.sampling import Sampler

from .scales import SCALES

KEY, FORMAT = "textual_inversion", 1
IN_INFO = "recipe"  # the key of a picture's recipe in the `info` of its PIL image
MOST_TEXT = 100_000  # characters of a recipe; fifty times a usual one
MOST_NUMBER = 2**63
MOST_BATCH = 1024
MOST_STEPS = 1000
SOLVER = ["eps", "z_T", "alpha_bar", "timesteps", "noise", "callback"]  # the arguments of a solver
SPACING = ["steps", "total"]


@dataclass(frozen=True)
class SamplerRecord:
    """A `Sampler` as data: the names of its two functions, the solver's `options`, and the number of steps."""

    solver: str
    spacing: str
    steps: int
    options: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, sampler: Sampler) -> "SamplerRecord":
        solve: Any = sampler.solve
        options = {k: float(v) for k, v in solve.keywords.items()} if isinstance(solve, partial) else {}
        function = solve.func if isinstance(solve, partial) else solve
        return cls(_name(function), _name(sampler.spacing), int(sampler.steps), options)

    def build(self) -> Sampler:
        """Return the sampler. Raises UserError if `ldm.sampling` has no function of that name."""
        solvers, spacings = _functions(SOLVER), _functions(SPACING)
        if self.solver not in solvers or self.spacing not in spacings:
            raise UserError(
                f"the picture was made with the sampler {self.solver!r} and the spacing {self.spacing!r}, which are "
                f"not both known here: choose another one with sampler=..."
            )
        solve = solvers[self.solver]
        if unknown := self.options.keys() - list(inspect.signature(solve).parameters)[len(SOLVER) :]:
            raise UserError(f"the sampler {self.solver!r} of the picture has no setting {min(unknown)!r}.")
        return Sampler(self.steps, partial(solve, **self.options) if self.options else solve, spacings[self.spacing])


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _functions(arguments: list[str]) -> dict[str, Callable[..., Any]]:
    """Return the functions of `ldm.sampling` that begin with these arguments, by name."""
    return {
        name: function
        for name, function in vars(sampling).items()
        if inspect.isfunction(function) and list(inspect.signature(function).parameters)[: len(arguments)] == arguments
    }


@dataclass(frozen=True)
class UsedWord:
    """A learned word in a recipe: the `file` that it was loaded from (None: it was in none), and its `digest`."""

    file: str | None
    digest: str


@dataclass(frozen=True)
class Recipe:
    """Everything that a picture was generated from. Its noise follows from `seed` and `index`. `batch` is how many
    pictures were computed together with it, on which rounding depends. `weights` is the hash of the model's weights in
    the `precision` of its UNet. `words` are those that the two prompts mention, by the name that they have there."""

    prompt: str
    negative_prompt: str
    seed: int
    index: int
    batch: int
    guidance: float
    sampler: SamplerRecord
    image_size: int
    model: str
    weights: str
    precision: str
    words: Mapping[str, UsedWord]

    def texts(self) -> dict[str, str]:
        """Return the texts of the PNG file: the recipe as JSON under `KEY`, and for people and other tools a line in
        the manner of the web UI under "parameters"."""
        sampler, words = self.sampler, ", ".join(f"{name} {word.digest}" for name, word in self.words.items())
        values = {
            "Steps": sampler.steps,
            "Sampler": ", ".join([sampler.solver, *(f"{key} {value}" for key, value in sampler.options.items())]),
            "CFG scale": self.guidance,
            "Seed": self.seed,
            "Index": self.index,
            "Size": f"{self.image_size}x{self.image_size}",
            "Model hash": self.weights,
            "Model": self.model,
        }
        lines = [
            self.prompt,
            *([f"Negative prompt: {self.negative_prompt}"] if self.negative_prompt else []),
            ", ".join(f"{key}: {value}" for key, value in values.items())
            + (f', TI hashes: "{words}"' if words else ""),
        ]
        return {KEY: json.dumps({"format": FORMAT} | asdict(self), allow_nan=False), "parameters": "\n".join(lines)}


def save_picture(path: str | Path, image: Image.Image) -> None:
    """Write a picture of `generate` as a PNG file with its recipe. Raises UserError if the image has none."""
    recipe = image.info.get(IN_INFO)
    if not isinstance(recipe, Recipe):
        raise UserError("the image has no recipe: it is not one that `generate` returned.")
    save_png(path, np.asarray(image), texts=recipe.texts())


def read_recipe(path: str | Path) -> Recipe:
    """Return the recipe in a PNG file. Raises UserError if there is no file or no recipe, or if it is broken."""
    if not os.path.isfile(path):
        raise UserError(f"there is no picture at {path}: give a PNG file that generate.py wrote.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow's warning of a picture with too many pixels
            with Image.open(path, formats=("PNG",)) as image:
                text = image.info.get(KEY)
    except Exception as error:  # Pillow raises almost any exception for broken files
        raise UserError(f"{path} cannot be read as a PNG file: give a picture that generate.py wrote.") from error
    if not isinstance(text, str):
        raise UserError(
            f"{path} holds no parameters: only a PNG file that generate.py wrote has them, and programs that edit or "
            "send pictures remove them."
        )
    try:
        if len(text) > MOST_TEXT:
            raise ValueError(f"they have {len(text)} characters")
        return _recipe(json.loads(text, parse_constant=_refuse))
    except (ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"the parameters in {path} are broken ({error}): this picture cannot be made again.") from error


def _recipe(data: Any) -> Recipe:
    values = _checked("the parameters", data, _SCHEMA)
    del values["format"]
    return Recipe(**values)


def _checked(name: str, value: Any, schema: Mapping[str, Callable[[str, Any], Any]]) -> dict[str, Any]:
    """Return the values of a JSON object with exactly the keys of the schema. Raises ValueError."""
    if not isinstance(value, dict) or value.keys() != schema.keys():
        raise ValueError(f"{name} should have {', '.join(schema)}")
    return {key: check(key, value[key]) for key, check in schema.items()}


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{name} is no text")
    return value


def _prompt(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    value.encode()  # raises UnicodeEncodeError, a ValueError, for what is no text in Unicode
    return value


def _whole(least: int, most: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{name} is no whole number from {least} to {most}")
        return value

    return check


def _number(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{name} is no number")
    return float(value)


def _model(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in SCALES:
        raise ValueError(f"{name} is none of {', '.join(SCALES)}")
    return value


def _sampler(name: str, value: Any) -> SamplerRecord:
    return SamplerRecord(**_checked(name, value, _SAMPLER))


def _options(name: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} are no settings")
    return {_text(name, key): _number(key, one) for key, one in value.items()}


def _words(name: str, value: Any) -> dict[str, UsedWord]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} are no words")
    return {_text(name, key): UsedWord(**_checked(f"the word {key!r}", one, _WORD)) for key, one in value.items()}


def _file(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


_WORD = {"file": _file, "digest": _text}
_SAMPLER = {"solver": _text, "spacing": _text, "steps": _whole(1, MOST_STEPS), "options": _options}
_SCHEMA = {
    "format": _whole(FORMAT, FORMAT),
    "prompt": _prompt,
    "negative_prompt": _prompt,
    "seed": _whole(0, MOST_NUMBER),
    "index": _whole(0, MOST_NUMBER),
    "batch": _whole(1, MOST_BATCH),
    "guidance": _number,
    "sampler": _sampler,
    "image_size": _whole(1, 1 << 16),
    "model": _model,
    "weights": _text,
    "precision": _text,
    "words": _words,
}
