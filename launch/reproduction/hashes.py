"""Hashes that identify cells: of the resolved config and of the contents of the files that it names."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from textual_inversion import learner
from textual_inversion.evaluation.evaluation import VERSION
from textual_inversion.pictures import BESIDE

_OF_WORDS = ("module", "trainer", "seed", "start_from")  # the parts of a config that change a word
_OF_EVALUATIONS = ("images", "first", "subject", "protocol", "sampler", "image_size", "guidance", "seed")
DIGITS = 16
_NAMES = ("_target_", "path")  # keys of Python objects: only the last part of the name is hashed, not the module
_FORMER = {"load_weights": "pretrained", "load_clip": "pretrained_clip"}  # what was renamed keeps its name in hashes
_PATHS = ("weights", "images", "folder", "vocabulary", "start")  # keys of files and folders: their contents are hashed


@cache
def _content(path: Path, beside: bool) -> str:
    """Return a hash of the contents of a file or folder, with or without the files that accompany images (`BESIDE`)."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and not file.name.startswith(".") and (beside or file.name not in BESIDE):
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def by_content(node: Any, beside: bool) -> Any:
    """Return the config with hashes of file contents in place of paths."""
    if isinstance(node, list):
        return [by_content(value, beside) for value in node]
    if not isinstance(node, dict):
        return node
    # Hashes are the same as before there was a start. Checkpointing changes no bit.
    items = {k: v for k, v in node.items() if k != "checkpointing" and (k != "start" or v is not None)}
    return {key: _value(key, value, beside) for key, value in items.items()}


def _value(key: str, value: Any, beside: bool) -> Any:
    if key in _PATHS and isinstance(value, str) and Path(value).exists():
        return _content(Path(value), beside)
    if key in _NAMES and isinstance(value, str):
        name = value.rpartition(".")[2]
        return _FORMER.get(name, name)
    return by_content(value, beside)


def train_hash(config: DictConfig) -> str:
    """Return the hash of everything that a learned word depends on: the resolved config, the weights and images
    that it names, and the version of the learning."""
    return _hash(of_word(config), beside=False)


def of_word(config: DictConfig) -> dict[str, Any]:
    """Return what a learned word depends on, as resolved values."""
    node = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    ends = (node.get("callbacks") or {}).get("early_stop")  # the one callback that changes a word
    # Words of version 1 were hashed without it.
    version = {"version": learner.VERSION} if learner.VERSION > 1 else {}
    return {key: node[key] for key in _OF_WORDS} | {"early_stop": ends} | version


def evaluation_hash(config: DictConfig, word: str | None) -> str:
    """Return the hash of everything that an evaluation depends on; `word` is the hash of the word's training."""
    return _hash(of_evaluation(config) | {"word": word}, beside=True)


def of_evaluation(config: DictConfig) -> dict[str, Any]:
    """Return what an evaluation depends on except for the word, as resolved values."""
    node = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    model = {key: value for key, value in node["module"].items() if key != "compiled"}
    return {"version": VERSION, "module": model, **{key: node[key] for key in _OF_EVALUATIONS}}


def settings_hash(config: DictConfig) -> str:
    """Return the hash of a figure's own settings, without its claims, which change no number."""
    node = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    return _hash({key: value for key, value in node.items() if key != "claims"}, beside=False)


def without_files(node: Any) -> Any:
    """Return the config without what depends on the machine or on a training: images are left out, and a network that
    is loaded from a file is known by the name of that file only."""
    if isinstance(node, list):
        return [without_files(value) for value in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("weights"), str):
        return _name(node["weights"])
    return {key: without_files(value) for key, value in node.items() if key not in _PATHS}


def weights_in(node: Any) -> dict[str, str]:
    """Return the hashes of all weights that the config names: name -> hash of the content."""
    if isinstance(node, list):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        return {}
    path = node.get("weights")
    own = {_name(path): _content(Path(path), False)} if isinstance(path, str) and Path(path).exists() else {}
    return own | {name: found for value in node.values() for name, found in weights_in(value).items()}


def _name(weights: str) -> str:
    return "/".join(Path(weights).parts[-2:])


def value_hash(node: Any) -> str:
    """Return the hash of values that name no files."""
    return _hash(node, beside=False)


def combine(*hashes: str) -> str:
    """Combine several hashes into one."""
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:DIGITS]


def _hash(node: Any, beside: bool) -> str:
    return hashlib.sha256(json.dumps(by_content(node, beside), sort_keys=True).encode()).hexdigest()[:DIGITS]
