"""Hydra's errors in one or two sentences: what is wrong, and the nearest names."""

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
def in_one_sentence() -> Iterator[None]:
    """End Hydra's errors in `error: <a sentence>` and exit code 1. HYDRA_FULL_ERROR=1 shows the traceback."""
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
    """Return one or two sentences about an error of Hydra or OmegaConf, with what to do."""
    said, cause = str(error), error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"there is no {group}={option}. {nearest(option, error.options, f'{group}=')}"
    if isinstance(error, OverrideParseException):
        if "=" not in error.override:
            return f"{error.override!r} is no setting. Settings are given as name=value, such as seed=1."
        return f"the value in {error.override!r} cannot be parsed. {_quoted(error.override)}"
    if found := re.match(r"You must specify '(\S+?)'", said):
        group = found[1].partition("@")[0]
        return f"{group} has no value. {nearest('', said.split()[said.split().index('options:') + 1 :], f'{group}=')}"
    if found := re.match(r"Ambiguous value for argument '(.*)'", said):
        return f"{found[1]} is several values. To sweep over them, add --multirun. {_quoted(found[1])}"
    if found := re.match(r"Could not override '(\S+)'.\nDid you mean to override (?:one of )?(.*)\?", said):
        return f"{found[1]} is ambiguous here. Choose one of {found[2]}."
    if found := re.match(r"Could not override '(\S+)'", said):
        key = found[1]
        if isinstance(cause, OmegaConfBaseException) and cause.parent_node is not None:
            parent = cause.full_key.rpartition(".")[0] if cause.full_key else ""
            return f"there is no setting {key}. {_nearest_setting(key, parent, cause.parent_node)}"
        return f"this command has nothing to choose called {key}. --help lists what it has."
    return " ".join((said.partition("Config search path")[0] + (f" {cause}" if cause else "")).split())


def _quoted(override: str) -> str:
    key, _, value = override.partition("=")
    return f"Put a text with special characters in quotes within quotes: \"{key}='{value}'\"."


def nearest(wrong: str, known: Sequence[str], before: str = "") -> str:
    """Return a sentence with the names of `known` that are like `wrong`, or all names."""
    near = get_close_matches(wrong, known, n=3, cutoff=0.6)
    if near:
        return f"Nearest to it: {', '.join(before + name for name in near)}."
    more = [f"{len(known) - MOST_NAMED} more"] if len(known) > MOST_NAMED else []
    return f"Choose {before}{' or '.join([', '.join(known[:MOST_NAMED]), *more])}."


def _nearest_setting(key: str, parent: str, node: Any) -> str:
    """Return a sentence with settings of the same last name; else with similar ones beside it, groups included."""
    name = key.rpartition(".")[2]
    settings = list(_settings(node._get_root()))
    same = [setting for setting in settings if setting.split(".")[-1] == name]
    if same:
        return f"Settings of that name: {', '.join(sorted(same, key=len)[:3])}."
    if parent:
        known = [str(child) for child in node if child != "_target_"] if isinstance(node, DictConfig) else []
        return nearest(name, known, f"{parent}.") if known else f"{parent} is one value, which has no parts."
    groups = GlobalHydra.instance().config_loader().list_groups("") if GlobalHydra.instance().is_initialized() else []
    top = dict.fromkeys([*(child for child in node if child != "hydra"), *groups])
    near = get_close_matches(key, [*(top | dict.fromkeys(settings))], n=3, cutoff=0.6)
    return f"Nearest to it: {', '.join(near)}." if near else "--cfg job prints all settings, --help what can be chosen."


def _settings(node: Any, before: str = "") -> Iterator[str]:
    """Yield the dotted names of all values in a config."""
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
