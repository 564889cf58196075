"""Cells of the experiments' grid: a word that is learned, and how it is evaluated. Each is known by the hash of its
resolved config, done once, and found again; one that fails is written down, and the others go on."""

import hashlib
import json
import logging
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import packs
from evaluate import built, evaluated
from hydra import compose
from hydra.utils import instantiate
from jobs import write_json
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from textual_inversion.embedding_file import FILE_NAME, LearnedWord, load_words
from textual_inversion.evaluation import RESULT, Evaluation
from textual_inversion.pictures import load_pictures
from textual_inversion.subjects import Painter

log = logging.getLogger("reproduce")

CELL = "cell.json"
SHOWN = 5  # pictures that a word is learned from and compared with, where nothing else is said
# What changes no number: folders, what is shown meanwhile, how it is filed.
_NO_NUMBERS = ("callbacks", "job", "logger", "paths", "resume", "own_gpu", "name")
_QUIET = ("callbacks.progress=null", "callbacks.previews=null", "callbacks.sheet=null", "callbacks.messages=null")


class CellFailed(Exception):
    """A cell that a figure needs could not be done."""


@dataclass(frozen=True)
class Cell:
    """`learn` are overrides of train.py, None where nothing is learned; `evaluate` are overrides of evaluate.py."""

    concept: str
    seed: int
    learn: tuple[str, ...] | None = ()
    evaluate: tuple[str, ...] = ()


@cache
def _content(path: Path) -> str:
    """A hash of what is in the files there."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _by_content(node: Any) -> Any:
    """The config with what is in the weights and pictures that it names instead of where they are."""
    if isinstance(node, list):
        return [_by_content(value) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _content(Path(value))
        if key in ("weights", "images") and isinstance(value, str) and Path(value).exists()
        else _by_content(value)
        for key, value in node.items()
    }


def config_hash(config: DictConfig) -> str:
    """Of all that the numbers depend on: the resolved config, and the weights and pictures that it names."""
    node = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    node = _by_content({key: value for key, value in node.items() if key not in _NO_NUMBERS})
    return hashlib.sha256(json.dumps(node, sort_keys=True).encode()).hexdigest()[:16]


@cache
def commit() -> str:
    """Of the code that runs, with a mark if it was changed since; "unknown" where there is no git."""
    try:
        asked = {"capture_output": True, "text": True, "check": True, "cwd": Path(__file__).parent}
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], **asked).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], **asked).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+changes" if changed else "")


class Grid:
    """Does cells in `folder`. `learn` and `evaluate` are overrides that all of them share, `pictures` holds a
    folder of pictures for each concept, `pack` is how many words are learned together."""

    def __init__(self, folder: Path, learn: Sequence[str], evaluate: Sequence[str], pictures: Path, pack: int) -> None:
        self.folder, self.learn, self.evaluate, self.pictures, self.pack = folder, learn, evaluate, pictures, pack
        self._built: dict[str, Any] = {}
        self._configs: dict[tuple[str, ...], DictConfig] = {}  # to compose one takes half a second

    def train_config(self, cell: Cell) -> DictConfig:
        """The resolved config of the cell's training, in the folder that is its own."""
        overrides = ["experiment=cat_toy", f"concept={cell.concept}", f"seed={cell.seed}"]
        overrides += [f"concept.images={self.pictures / cell.concept}", f"concept.first={SHOWN}"]
        overrides += [*self.learn, *(cell.learn or ())]
        overrides += [*_QUIET, "+trainer.enable_progress_bar=false", "paths.run=none"]
        if tuple(overrides) in self._configs:
            return self._configs[tuple(overrides)]
        config = compose("train", overrides)
        config.paths.run = str(self.folder / "words" / config_hash(config))
        resolved = cast(DictConfig, OmegaConf.create(OmegaConf.to_container(config, resolve=True)))
        return self._configs.setdefault(tuple(overrides), resolved)

    def evaluation_config(self, cell: Cell, word: Path | None) -> DictConfig:
        overrides = [f"images={self.pictures / cell.concept}", f"first={SHOWN}", f"seed={cell.seed}"]
        overrides += [*self.evaluate, *cell.evaluate, "paths.run=none"]
        return compose("evaluate", [*overrides, *([f"+learned={word.name}"] if word else [])])

    def learned(self, concepts: Sequence[str], seed: int) -> dict[str, LearnedWord]:
        """One word of each concept by the paper's method; of those that could be learned. Raises CellFailed if none
        could."""
        folders = self.words([Cell(concept, seed) for concept in concepts])
        if not folders:
            raise CellFailed("none of its words could be learned; their folders say why.")
        return {cell.concept: load_words(folder)[0] for cell, folder in folders.items()}

    def studio(self, concept: str, seed: int) -> tuple[Painter, Evaluation, np.ndarray]:
        """What paints and judges pictures as the evaluations do, and the concept's training pictures."""
        config = self.evaluation_config(Cell(concept, seed, None), None)
        ldm, evaluation = self.parts(config)
        painter = Painter(ldm, instantiate(config.sampler), config.guidance, config.seed, config.batch_size)
        return painter, evaluation, load_pictures(Path(config.images), config.image_size, config.first).images

    def words(self, cells: Sequence[Cell]) -> dict[Cell, Path]:
        """Where the word of each cell that learns one is; those that failed are left out."""
        configs = {cell: self.train_config(cell) for cell in cells if cell.learn is not None}
        todo = {c.paths.run: c for c in configs.values() if not _is_done(Path(c.paths.run), FILE_NAME)}
        bar = tqdm(total=len(todo), desc="learning words", unit="word", disable=not todo)
        with bar:
            # Of one length, so that as many as possible share the frozen model.
            for numbers, ldm in packs.group(list(todo.values()), self.pack):
                together = [list(todo.values())[i] for i in numbers]
                _learn(together, ldm)
                bar.update(len(together))
        found = {cell: Path(config.paths.run) for cell, config in configs.items()}
        return {cell: folder for cell, folder in found.items() if _is_done(folder, FILE_NAME)}

    def results(self, cells: Sequence[Cell]) -> dict[Cell, dict[str, Any]]:
        """The evaluation of each cell, with the hash of its config as "config"; those that failed are left out."""
        words, found = self.words(cells), {}
        for cell in tqdm(cells, desc="evaluating", unit="cell"):
            if cell.learn is not None and cell not in words:
                continue
            config = self.evaluation_config(cell, words.get(cell))
            folder = self.folder / "evaluations" / config_hash(config)
            if not _is_done(folder, RESULT):
                self._evaluate(config, folder, words.get(cell))
            if _is_done(folder, RESULT):
                found[cell] = json.loads((folder / RESULT).read_text(encoding="utf-8")) | {"config": folder.name}
        return found

    def _evaluate(self, config: DictConfig, folder: Path, word: Path | None) -> None:
        config.word = str(word) if word else None
        try:
            result = evaluated(config, *self.parts(config))
        except Exception as error:
            _fail(folder, error)
            return
        write_json(folder / RESULT, result)
        _finish(folder)

    def parts(self, config: DictConfig) -> Any:
        """The model and the judges of an evaluation, built once."""
        key = json.dumps([OmegaConf.to_container(config[name], resolve=True) for name in ("module", "protocol")])
        if key not in self._built:
            self._built[key] = built(config)
        return self._built[key]


def _learn(configs: list[DictConfig], ldm: Any) -> None:
    for config in configs:
        Path(config.paths.run).mkdir(parents=True, exist_ok=True)
    try:
        packs.fit(configs, ldm)
    except Exception as error:
        if len(configs) == 1:
            _fail(Path(configs[0].paths.run), error)
            return
        log.warning("a pack of %d failed (%s): each alone", len(configs), error)
        for config in configs:
            _learn([config], None)
        return
    for config in configs:
        _finish(Path(config.paths.run))


def _is_done(folder: Path, file: str) -> bool:
    try:
        state = json.loads((folder / CELL).read_text(encoding="utf-8"))["state"]
    except (OSError, ValueError, KeyError):
        return False
    return state == "finished" and (folder / file).is_file()


def _finish(folder: Path) -> None:
    write_json(folder / CELL, {"state": "finished", "commit": commit()})


def _fail(folder: Path, error: Exception) -> None:
    log.warning("%s failed: %s", folder, error)
    write_json(folder / CELL, {"state": "failed", "error": f"{type(error).__name__}: {error}", "commit": commit()})
