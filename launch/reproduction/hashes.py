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
    node = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    ends = (node.get("callbacks") or {}).get("early_stop")  # the one callback that changes a word
    # Words of version 1 were hashed without it.
    version = {"version": learner.VERSION} if learner.VERSION > 1 else {}
    return _hash({key: node[key] for key in _OF_WORDS} | {"early_stop": ends} | version, beside=False)


def evaluation_hash(config: DictConfig, word: str | None) -> str:
    """Return the hash of everything that an evaluation depends on; `word` is the hash of the word's training."""
    node = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    model = {key: value for key, value in node["module"].items() if key != "compiled"}
    given = {"version": VERSION, "word": word, "module": model, **{key: node[key] for key in _OF_EVALUATIONS}}
    return _hash(given, beside=True)


def settings_hash(config: DictConfig) -> str:
    """Return the hash of a figure's own settings, without its claims, which change no number."""
    node = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    return _hash({key: value for key, value in node.items() if key != "claims"}, beside=False)


def combine(*hashes: str) -> str:
    """Combine several hashes into one."""
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:DIGITS]


def _hash(node: Any, beside: bool) -> str:
    return hashlib.sha256(json.dumps(by_content(node, beside), sort_keys=True).encode()).hexdigest()[:DIGITS]
