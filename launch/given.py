"""The words and the prompts that a command is given."""

import os
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from ldm.errors import UserError
from textual_inversion.words.file import LearnedWord, load_words

MOST_BYTES = 1_000_000  # of a file of prompts


def as_list(value: str | ListConfig | None) -> list[str]:
    """Return one value, several or none, as given on the command line, as a list."""
    return [value] if isinstance(value, str) else list(value or [])


def given_words(value: str | ListConfig | DictConfig | None) -> list[LearnedWord]:
    """Load the words of the setting `word`: a run folder or file, a list of them, or names of one's choice for the
    words of files, {name: file}. Raises UserError for a file without words, or for one of several under one name."""
    if isinstance(value, DictConfig):
        named = [(str(name), str(file)) for name, file in value.items()]
    elif isinstance(value, str) and value.startswith("{") and not os.path.exists(value):
        named = _pairs(value)
    else:
        return [word for path in as_list(value) for word in load_words(Path(path))]
    return [LearnedWord.load(Path(file).expanduser()).named(name) for name, file in named]


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return the names and files of "{name: file, name: file}". Hydra would not read names such as <cat>."""
    try:
        node: Any = yaml.compose(text, yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        node = None
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    if not pairs or not all(isinstance(one, yaml.ScalarNode) and one.value for pair in pairs for one in pair):
        raise UserError(
            f'word={text} cannot be read: write word="{{<name>: <file>, <name>: <file>}}", with a space after each '
            "colon. A name or a file with symbols such as , : * needs quotes."
        )
    return [(name.value, file.value) for name, file in pairs]


def given_prompts(config: DictConfig) -> list[str]:
    """Return the prompts of the settings `prompt` and `prompt_file`. Raises UserError if there is none."""
    if config.prompt_file is None:
        return as_list(config.prompt)
    typed = [] if OmegaConf.is_missing(config, "prompt") else as_list(config.prompt)
    return typed + read_prompts(Path(config.prompt_file))


def read_prompts(path: Path) -> list[str]:
    """Return the prompts in a text file, one per line; empty lines are skipped. Raises UserError if there is no such
    file, if it holds no prompt, or if it is no text."""
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "does not exist"
        raise UserError(f"the file of prompts {path} {what}: give a text file with one prompt per line.")
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} has over {MOST_BYTES // 10**6} MB, which are no prompts: give a text file.")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    prompts = [line.strip() for line in text.splitlines() if line.strip()]
    if "\0" in text:
        raise UserError(f"{path} is no text in UTF-8: save it as a text file with one prompt per line.")
    if not prompts:
        raise UserError(f"{path} is empty: write prompts into it, one per line.")
    return prompts
