"""What files say about earlier runs. A file is data: the command line in a sweep's record may choose among the
project's configs and set values, but not name code, other config files, or places to write to; and in the config that a
word's file holds, nothing is resolved or built."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from . import CONFIGS
from .jobs import SWEEP
from .shell import this_command

MOST_CONFIG = 100_000  # characters; ten times a config of train.py
RESUME = "sweep.resume="
_FLAGS = {"-m", "--multirun"}
_OPTIONS = re.compile(r"[\w-]+(/[\w-]+)*")
# Settings of Hydra that choose how many jobs run at a time. All others of its settings can name code.
_OF_HYDRA = {"hydra.sweep.dir", "hydra.mode", "hydra.launcher.n_jobs", "hydra.launcher.max_size"}


def with_resumed_sweep(arguments: list[str]) -> list[str]:
    """Replace `sweep.resume=<folder>` by the command line of that sweep, in the same folder. The other arguments are
    appended to it. Exits with a sentence if the record cannot be used, or if it has a setting that a record may not
    have; such a setting is obeyed if `arguments` repeat it."""
    resumed = [argument for argument in arguments if argument.startswith(RESUME)]
    if not resumed:
        return arguments
    folder = Path(resumed[-1].removeprefix(RESUME))
    typed = [argument for argument in arguments if not argument.startswith(RESUME)]
    earlier = _command(folder)
    for argument in earlier:
        if argument not in typed and not is_harmless(argument):
            again = this_command(*arguments, argument)
            sys.exit(
                f"error: {folder / SWEEP} sets {argument!r}, which could run code or write elsewhere. If it is your "
                f"own, repeat it: {again}"
            )
    more = [argument for argument in typed if argument not in earlier]
    return [a for a in earlier if not a.startswith("hydra.sweep.dir=")] + more + [f"hydra.sweep.dir={folder}"]


def _command(folder: Path) -> list[str]:
    try:
        record = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
    except FileNotFoundError:
        sys.exit(f"error: {folder} is not the folder of a sweep: it has no {SWEEP}.")
    except (ValueError, RecursionError):
        record = None
    command = record.get("command") if isinstance(record, dict) else None
    if not isinstance(command, list) or not all(isinstance(argument, str) for argument in command):
        sys.exit(f"error: {folder / SWEEP} is damaged: start the sweep again with hydra.sweep.dir={folder}.")
    return command


def is_harmless(argument: str) -> bool:
    """Whether an argument of train.py only chooses among the configs of the project, or sets or removes a value."""
    if argument in _FLAGS:
        return True
    if argument.startswith("-") or "{" in argument or not argument.isprintable():  # a brace starts a node
        return False
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    name, value = override.key_or_group, argument.partition("=")[2]
    if override.is_add() or override.is_force_add():
        return False
    if name.startswith(("hydra.", "hydra/")):
        return name in _OF_HYDRA
    if (CONFIGS / name).is_dir():
        return all(_OPTIONS.fullmatch(option) for option in re.split(r"[\[\],\s]+", value) if option)
    # Nodes with the leaf `path` look up a function by its name, and the others are places to write to.
    *_, leaf = parts = name.split(".")
    return leaf not in ("path", "folder", "dir") and parts[0] != "paths" and not any(p.startswith("_") for p in parts)


class _WithoutAliases(yaml.SafeLoader):
    """Reads YAML without aliases, with which a short text can stand for a very long one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias")
        return super().compose_node(parent, index)


def concepts_in(config: Any) -> dict[str, str]:
    """Return placeholder -> folder of images in the text of a config that a word's file holds. The text is data: no
    interpolation in it is resolved. What is not as train.py writes it is left out."""
    try:
        node = yaml.load(config, _WithoutAliases) if isinstance(config, str) and len(config) < MOST_CONFIG else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    for key in ("module", "concepts"):
        node = node.get(key) if isinstance(node, dict) else None
    found = [concept for concept in node if isinstance(concept, dict)] if isinstance(node, list) else []
    pairs = [(concept.get("placeholder"), concept.get("images")) for concept in found]
    return {
        name: images
        for name, images in pairs
        if isinstance(name, str) and isinstance(images, str) and images.isprintable()
    }
