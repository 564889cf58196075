"""What cells are known by: a hash of all that they depend on, of their resolved config and of the files it names."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from textual_inversion.evaluation.evaluation import VERSION
from textual_inversion.pictures import BESIDE

_OF_WORDS = ("module", "trainer", "seed", "start_from")  # the parts of a config that change a word
_OF_EVALUATIONS = ("images", "first", "subject", "protocol", "sampler", "image_size", "guidance", "seed")
DIGITS = 16
_NAMES = ("_target_", "path")  # keys of Python objects: known by their own names, in whichever module they live
_PATHS = ("weights", "images", "folder", "vocabulary")  # keys of what is known by its content


@cache
def _content(path: Path, beside: bool) -> str:
    """A hash of what is in the files there, with or without what lies beside pictures."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and not file.name.startswith(".") and (beside or file.name not in BESIDE):
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _by_content(node: Any, beside: bool) -> Any:
    """The config with what is in the files that it names instead of where they are."""
    if isinstance(node, list):
        return [_by_content(value, beside) for value in node]
    if not isinstance(node, dict):
        return node
    return {key: _value(key, value, beside) for key, value in node.items()}


def _value(key: str, value: Any, beside: bool) -> Any:
    if key in _PATHS and isinstance(value, str) and Path(value).exists():
        return _content(Path(value), beside)
    if key in _NAMES and isinstance(value, str):
        return value.rpartition(".")[2]
    return _by_content(value, beside)


def train_hash(config: DictConfig) -> str:
    """Of all that a learned word depends on: the resolved config, and the weights and pictures that it names."""
    node = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    ends = (node.get("callbacks") or {}).get("early_stop")  # the one callback that changes a word
    return _hash({key: node[key] for key in _OF_WORDS} | {"early_stop": ends}, beside=False)


def evaluation_hash(config: DictConfig, word: str | None) -> str:
    """Of all that the numbers depend on; `word` is the hash of the word's training."""
    node = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    model = {key: value for key, value in node["module"].items() if key != "compiled"}
    given = {"version": VERSION, "word": word, "module": model, **{key: node[key] for key in _OF_EVALUATIONS}}
    return _hash(given, beside=True)


def settings_hash(config: DictConfig) -> str:
    """Of what a figure paints beside its cells; what is claimed of it changes no number."""
    node = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    return _hash({key: value for key, value in node.items() if key != "claims"}, beside=False)


def combine(*hashes: str) -> str:
    """One hash of several."""
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:DIGITS]


def _hash(node: Any, beside: bool) -> str:
    return hashlib.sha256(json.dumps(_by_content(node, beside), sort_keys=True).encode()).hexdigest()[:DIGITS]
