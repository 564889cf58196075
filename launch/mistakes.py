"""Turn Hydra's errors into one or two sentences that say what is wrong and what to write instead."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from difflib import get_close_matches
from typing import Any, NoReturn

import hydra._internal.utils
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ldm.errors import UserError

from .shell import quote, this_command

MOST_NAMED = 20


@contextmanager
def reported_by(reported: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Let `reported` handle the errors of Hydra in the block, while Hydra still knows its configs."""
    utils: Any = hydra._internal.utils
    report = utils.run_and_report

    def run(function: Callable[[], Any]) -> Any:
        with reported():
            return function()

    utils.run_and_report = run
    try:
        yield
    finally:
        utils.run_and_report = report


def require_known_options(arguments: Sequence[str]) -> None:
    """Raise UserError for an option such as --sweep that does not exist, or whose value is missing."""
    parser = hydra._internal.utils.get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}. Settings are given without dashes, as name=value; --help lists the choices.")

    parser.error = refuse
    parser.parse_args(list(arguments))


def sentence(error: Exception) -> str:
    """Return one or two sentences for an error of Hydra or OmegaConf: what is wrong, and what to do."""
    message, cause = str(error), error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        if error.missing_cfg_file == "hydra/sweeper/optuna":
            return "sweep=optuna needs Optuna: pip install -e '.[optuna]' installs it."
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"there is no {group}={option}. {suggest(option, error.options, f'{group}=')}"
    if isinstance(error, OverrideParseException):
        if "=" not in error.override:
            return f"{error.override!r} is not a setting. Give settings as name=value, such as seed=1."
        return f"the value in {error.override!r} cannot be parsed. {_quoting_hint(error.override)}"
    if found := re.match(r"You must specify '(\S+?)'", message):
        group = found[1].partition("@")[0]
        options = message.partition("options:")[2].split()
        return f"{group} has no value. {suggest('', options, f'{group}=')}"
    if found := re.match(r"Ambiguous value for argument '(.*)'", message):
        return f"{found[1]} gives several values: add --multirun to sweep over them. {_quoting_hint(found[1])}"
    if found := re.match(r"Could not override '(\S+)'.\nDid you mean to override (?:one of )?(.*)\?", message):
        return f"{found[1]} is ambiguous here. Choose one of {found[2]}."
    if found := re.match(r"Could not override '(\S+)'", message):
        key = found[1]
        if isinstance(cause, OmegaConfBaseException) and cause.parent_node is not None:
            parent = cause.full_key.rpartition(".")[0] if cause.full_key else ""
            return f"there is no setting {key}. {_suggest_setting(key, parent, cause.parent_node)}"
        return f"this command has no choice called {key}. --help lists its choices."
    if found := re.match(r"In '(\S+)/(\S+)': Could not override '(\S+)'", message):
        return f"{found[1]}={found[2]} changes {found[3]}, which is not there: choose an experiment first."
    if found := re.match(r"Could not append to config. An item is already at '(.+?)'", message):
        return f"there is a setting {found[1]}: leave out the + before it."
    if found := re.match(r"Interpolation key '(.+?)' not found", message):
        key = getattr(error, "full_key", "") or "a setting"
        return f"{key} refers to {found[1]}, which does not exist: give it a value."
    about = f"{error.full_key}: " if isinstance(error, OmegaConfBaseException) and error.full_key else ""
    ends = re.compile(r"\n    full_key:|Config search path")
    return " ".join((about + " ".join(ends.split(str(one))[0] for one in (error, cause) if one)).split())


def _quoting_hint(override: str) -> str:
    """Return a sentence with the command in which the value of `override` is text."""
    key, _, value = override.partition("=")
    is_list = value.startswith("[") and value.endswith("]")
    texts = [QuotedString(text.strip(), Quote.single).with_quotes() for text in value[1:-1].split(",") or [""]]
    quoted = f"{key}={f'[{chr(44).join(texts)}]' if is_list else QuotedString(value, Quote.single).with_quotes()}"
    given = sys.argv[1:]
    command = this_command(*(quoted if a == override else a for a in given)) if override in given else quote(quoted)
    return f"If the value is text, write: {command}"


def suggest(wrong: str, known: Sequence[str], before: str = "") -> str:
    """Return a sentence that suggests the names in `known` closest to `wrong`, or lists all of them."""
    near = get_close_matches(wrong, known, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(before + name for name in near)}?"
    more = [f"{len(known) - MOST_NAMED} more"] if len(known) > MOST_NAMED else []
    return f"Choose {before}{' or '.join([', '.join(known[:MOST_NAMED]), *more])}."


def _suggest_setting(key: str, parent: str, node: Any) -> str:
    """Return a sentence that suggests settings with the same last name, or else similar settings and groups."""
    name = key.rpartition(".")[2]
    settings = list(_settings(node._get_root()))
    same = [setting for setting in settings if setting.split(".")[-1] == name]
    if same:
        return f"Did you mean {' or '.join(sorted(same, key=len)[:3])}?"
    if parent:
        known = [str(child) for child in node if child != "_target_"] if isinstance(node, DictConfig) else []
        return suggest(name, known, f"{parent}.") if known else f"{parent} is a single value and has no parts."
    groups = GlobalHydra.instance().config_loader().list_groups("") if GlobalHydra.instance().is_initialized() else []
    top = dict.fromkeys([*(child for child in node if child != "hydra"), *groups])
    near = get_close_matches(key, [*(top | dict.fromkeys(settings))], n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(near)}?" if near else "--cfg job prints all settings, --help all choices."


def _settings(node: Any, before: str = "") -> Iterator[str]:
    """Yield the dotted name of every value in the config `node`."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or node._is_interpolation():
        return
    for name in node:
        path = f"{before}{name}"
        if path == "hydra" or str(name).startswith("_"):
            continue
        child = node._get_node(name)
        if isinstance(child, DictConfig):
            yield from _settings(child, f"{path}.")
        else:
            yield path
