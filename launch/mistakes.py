"""Turn Hydra's errors into one or two sentences that say what is wrong and what to write instead."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import hydra._internal.utils
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

MOST_NAMED = 20


@contextmanager
def report_hydra_mistakes() -> Iterator[None]:
    """Print an error of Hydra in the block as `error: <sentence>` and exit with code 1. HYDRA_FULL_ERROR=1 shows the
    traceback."""
    utils: Any = hydra._internal.utils
    report = utils.run_and_report

    def run(function: Any) -> Any:
        try:
            return function()
        except (HydraException, OmegaConfBaseException) as error:
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            sys.stderr.write(f"error: {sentence(error)}\n")
            sys.exit(1)

    utils.run_and_report = lambda function: report(lambda: run(function))
    try:
        yield
    finally:
        utils.run_and_report = report


def sentence(error: Exception) -> str:
    """Return one or two sentences for an error of Hydra or OmegaConf: what is wrong, and what to do."""
    message, cause = str(error), error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
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
        return f"{found[1]} gives several values. Add --multirun to sweep over them. {_quoting_hint(found[1])}"
    if found := re.match(r"Could not override '(\S+)'.\nDid you mean to override (?:one of )?(.*)\?", message):
        return f"{found[1]} is ambiguous here. Choose one of {found[2]}."
    if found := re.match(r"Could not override '(\S+)'", message):
        key = found[1]
        if isinstance(cause, OmegaConfBaseException) and cause.parent_node is not None:
            parent = cause.full_key.rpartition(".")[0] if cause.full_key else ""
            return f"there is no setting {key}. {_suggest_setting(key, parent, cause.parent_node)}"
        return f"this command has no choice called {key}. --help lists its choices."
    return " ".join((message.partition("Config search path")[0] + (f" {cause}" if cause else "")).split())


def _quoting_hint(override: str) -> str:
    key, _, value = override.partition("=")
    return f"Put text with special characters in quotes within quotes: \"{key}='{value}'\"."


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
