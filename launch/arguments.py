"""What happens to the command line before Hydra parses it: --help, and quotes around text."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from . import CONFIGS
from .shell import with_commands

# Settings whose value is text or a list of texts. A comma is part of the text.
SENTENCES = {"prompt", "negative_prompt", "source", "placeholder"}
# Settings whose value is text that a sweep may vary. A comma separates two values, unless the whole value names a file.
FILES = {
    "images", "word", "folder", "weights", "models", "cells", "start_from", "resume", "dir", "against", "assets",
    "cache", "run", "vocabulary", "image", "mask", "start", "noise", "difference",
    "from", "prompt_file",
}  # fmt: skip
NAMES = FILES | {"initializer", "project", "group"}
FOOTER = """\
Give settings as name=value, such as seed=1. --cfg job prints all of them with the values that the command would use."""


def quote_text(argument: str, sweep: bool = False) -> str:
    """Return the argument. If its value is text that Hydra would refuse or misread, put the value in Hydra's quotes. A
    list in Hydra's syntax stays a list. With `sweep`, commas separate values. ~ becomes the home folder: a shell leaves
    it in the value of a setting."""
    setting, equals, value = argument.partition("=")
    name = setting.lstrip("+").split(".")[-1]
    if name in FILES and value.startswith("~"):
        value = str(Path(value).expanduser())
        argument = f"{setting}={value}"
    if not equals or name not in SENTENCES | NAMES or value == "":
        return argument
    try:
        override = OverridesParser.create().parse_override(argument)
        known = (sweep or not override.is_sweep_override()) if name in SENTENCES else not _is_path(override, value)
        if known and not isinstance(override.value(), int | float | dict):
            return argument
    except HydraException:
        pass
    return f"{setting}={QuotedString(value, Quote.single).with_quotes()}"


def _is_path(override: Override, value: str) -> bool:
    """Whether the value is the name of a file that Hydra would split at a comma."""
    return override.is_sweep_override() and Path(value).exists()


def only_prints(arguments: list[str]) -> bool:
    return any(re.fullmatch("-h|-c|-i|--(help|hydra-help|cfg|info|version)(=.*)?", each) for each in arguments)


def wants_help(arguments: list[str]) -> bool:
    return bool({"-h", "--help"} & set(arguments))


def show_help(name: str, documentation: str) -> None:
    """Print the docstring of scripts/`name`.py and the options of its config groups."""
    rows = [f"  {group}={' | '.join(options)}" for group, options in choices(name)]
    parts = [with_commands(documentation).strip(), "Choices:\n" + "\n".join(rows) if rows else "", FOOTER]
    sys.stdout.write("\n\n".join(filter(None, parts)) + "\n")


def choices(name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the config groups of a command and their options, including the groups that only experiments use."""
    root = CONFIGS / "fetch" if name == "fetch" else CONFIGS
    seen = set[str]()
    experiments = sorted(root.glob("experiment/*.yaml")) if name == "train" else []
    for config in (root / f"{name}.yaml", *experiments):
        for choice in _defaults(config):
            group = re.sub(r"^(optional|override) ", "", choice).lstrip("/").partition("@")[0]
            options = sorted(path.stem for path in (root / group).glob("*.yaml"))
            if group not in seen and len(options) > 1:
                seen.add(group)
                yield group, options


def _defaults(config: Path) -> Iterator[str]:
    content: Any = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
    for entry in content.get("defaults", []):
        if isinstance(entry, dict):
            yield from entry
