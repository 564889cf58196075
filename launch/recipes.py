"""Make a picture again from its recipe, with the changes that the command line names."""

import logging
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ldm.errors import UserError
from textual_inversion.recipe import Recipe
from textual_inversion.scales import TINY
from textual_inversion.words.file import LearnedWord, load_words

from .command import require_usable

log = logging.getLogger("generate")


@dataclass(frozen=True)
class Changes:
    """The settings and choices that the command line gives."""

    names: frozenset[str]

    @classmethod
    def of_command_line(cls) -> "Changes":
        overrides = HydraConfig.get().overrides.task
        return cls(frozenset(re.split("[=@]", override.lstrip("+~"), maxsplit=1)[0] for override in overrides))

    def __contains__(self, name: str) -> bool:
        return name in self.names


def with_model_of(recipe: Recipe, config: DictConfig) -> DictConfig:
    """Return the config with the model that the picture was made with, unless the command line chooses a model."""
    chosen = Changes.of_command_line().names
    if recipe.model == config.name or any(re.match(r"(scale|debug|module\b)", name) for name in chosen):
        return config
    choice = "debug=tiny" if recipe.model == TINY.name else f"scale={recipe.model}"
    again = compose("generate", [*HydraConfig.get().overrides.task, choice])
    require_usable(again)
    return again


def words_again(recipe: Recipe, path: Path, replaced: Collection[str]) -> list[LearnedWord]:
    """Find the words of the recipe of the picture at `path`, except those that are `replaced`. Raises UserError if the
    file of a word is gone, or if the word in it is another one."""
    words = []
    for name, used in recipe.words.items():
        if name in replaced:
            continue
        remedy = f'give another one as word="{{{name}: <run folder or file>}}".'
        if used.file is None:
            raise UserError(f"the word {name!r} of {path} came from no file: {remedy}")
        if not os.path.isfile(used.file):
            raise UserError(
                f"the word {name!r} of {path} was in {used.file}, which is gone: bring it back, or {remedy}"
            )
        found = [word for word in load_words(Path(used.file)) if word.digest == used.digest]
        if not found:
            raise UserError(
                f"the word {name!r} of {path} was in {used.file}, which holds another word now: bring it back, or "
                f"{remedy}"
            )
        words.append(found[0].named(name))
    return words


def warn_of_another_model(recipe: Recipe, now: Recipe, path: Path) -> None:
    """Warn if a picture was made anew with another model than the one at `path`, or in another precision."""
    if now.model != recipe.model:
        log.warning("%s was made with %s, this picture with %s", path, recipe.model, now.model)
    elif now.precision != recipe.precision:
        log.warning("%s was made in %s, this picture in %s", path, recipe.precision, now.precision)
    elif now.weights != recipe.weights:
        log.warning(
            "%s was made with other weights of %s, so this picture differs from it: give the weights, or the "
            "difference=, that it was made with",
            path,
            recipe.model,
        )
