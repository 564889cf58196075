"""Cells of the experiment grid: a word to learn, and how to evaluate it. A cell is identified by the hash of its
resolved config and run only once; later commands reuse its result. A failed cell is recorded, and the others still
run."""

import json
import logging
import time
import traceback
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from tqdm import tqdm

from ldm.errors import UserError
from ldm.files import read_json, write_json
from ldm.images import to_tensor
from ldm.latent_diffusion import LatentDiffusion
from ldm.training.resumption import STATE, Preempted
from textual_inversion.evaluation.classifier import AttributeClassifier
from textual_inversion.evaluation.evaluation import RESULT, Evaluation
from textual_inversion.evaluation.metrics import image_similarity
from textual_inversion.evaluation.subjects import Pipeline, SubjectInputs, labels_in
from textual_inversion.pictures import load_pictures
from textual_inversion.words.file import FILE_NAME, LearnedWord, load_words
from toyland.captions import with_article

from .. import packs
from ..command import require_weights
from ..concepts import HOME, UNSEEN
from ..evaluate import build, gather_inputs, keep, measure
from ..failures import explain
from ..mistakes import sentence
from ..settings import require_settings
from .hashes import evaluation_hash, train_hash
from .records import CELL, commit, finish, is_done, record_of

log = logging.getLogger("reproduce")

SHOWN = 5  # default number of images that a word is learned from and compared with
_QUIET = ("callbacks.progress=null", "callbacks.previews=null", "callbacks.sheet=null", "callbacks.messages=null")


class CellFailed(Exception):
    """A cell that a figure needs has failed."""


@dataclass(frozen=True)
class Cell:
    """A word to learn, and how to evaluate it. `learn` are overrides of train.py, or None to learn nothing; `evaluate`
    are overrides of evaluate.py. With `home`, the word is learned from the home set of its toy. It is compared with the
    varied set all the same, or with `unseen`, with images that no word is learned from."""

    concept: str
    seed: int
    learn: tuple[str, ...] | None = ()
    evaluate: tuple[str, ...] = ()
    home: bool = False
    unseen: bool = False


def draw_of(concept: str, seed: int) -> int:
    """Return the seed of a concept's draws: images, noise and timesteps. Concepts do not share them, since an effect of
    the draws would otherwise be taken for one of the setups. Setups of a concept share them, and are paired."""
    return zlib.crc32(f"{concept} {seed}".encode())


def quote(path: str | Path) -> str:
    """Quote a path as the value of an override. Hydra does not accept commas, brackets or umlauts without quotes."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _compose(name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose a config. Raises UserError for overrides that Hydra rejects, such as an unknown concept, and
    for values that no setting has."""
    try:
        config = compose(name, [*overrides])
    except HydraException as error:
        raise UserError(sentence(error)) from error
    require_settings(config)
    return config


@dataclass(frozen=True, eq=False)
class LearnedConcept:
    """A learned word with the inputs and the evaluation of its images. `config` is the hash of both; `commit` is the
    commit of the code that learned the word."""

    inputs: SubjectInputs
    evaluation: Evaluation
    config: str
    commit: str

    @property
    def word(self) -> LearnedWord:
        return self.inputs.require_word()

    @property
    def pipeline(self) -> Pipeline:
        return self.inputs.pipeline

    @property
    def coarse(self) -> str:
        """The initializer word, with its article."""
        return with_article(str(self.word.provenance["initializer"]))

    @property
    def labels(self) -> dict[str, str]:
        """The labels that all its images share."""
        return labels_in(self.inputs.folder)

    @cached_property
    def references(self) -> Tensor:
        """The embeddings [m, d] of its training images."""
        return self.evaluation.embed(to_tensor(self.inputs.images))

    def likeness(self, images: Tensor) -> dict[str, float]:
        """Return how like the training images `images` [n, 3, h, w] in [-1, 1] are: "image_similarity", and for a toy
        "reidentified"."""
        similarity = image_similarity(self.evaluation.embed(images), self.references)
        found = self.evaluation.reidentified(images, self.inputs.images, self.labels)
        return {"image_similarity": similarity, **found}


class CellStore:
    """Runs cells and stores their results in `folder`. `learn` and `evaluate` are overrides that all cells share,
    `pictures` contains a folder of images for each concept, and `pack` is the number of words that are learned
    together. `failed` are the folders of failed cells."""

    def __init__(self, folder: Path, learn: Sequence[str], evaluate: Sequence[str], pictures: Path, pack: int) -> None:
        self.folder, self.learn, self.evaluate, self.pictures, self.pack = folder, learn, evaluate, pictures, pack
        self.failed: set[Path] = set()
        commit()  # cache the commit of the loaded code, since HEAD may change during the run
        self._built: dict[str, Any] = {}
        self._configs: dict[tuple[str, ...], DictConfig] = {}  # composing a config takes half a second

    def compose_training(self, cell: Cell) -> DictConfig:
        """Return the config of the cell's training without a folder. The images need not exist."""
        images = (self.pictures / HOME if cell.home else self.pictures) / cell.concept
        overrides = ["experiment=cat_toy", f"concept={cell.concept}", f"seed={cell.seed}"]
        overrides += [f"concept.seed={draw_of(cell.concept, cell.seed)}"]
        overrides += [f"concept.images={quote(images)}", f"concept.first={SHOWN}"]
        overrides += [*self.learn, *(cell.learn or ()), *_QUIET, "+trainer.enable_progress_bar=false", "paths.run=none"]
        return _compose("train", overrides)

    def train_config(self, cell: Cell) -> DictConfig:
        """Return the resolved config of the cell's training, with the cell's own folder. The folder is named after a
        hash that includes the images, so they must exist."""
        key = ("train", cell.concept, str(cell.seed), str(cell.home), *(cell.learn or ()))
        if key not in self._configs:
            config = self.compose_training(cell)
            config.paths.run = str(self.folder / "words" / train_hash(config))
            self._configs[key] = cast(DictConfig, OmegaConf.create(OmegaConf.to_container(config, resolve=True)))
        return self._configs[key]

    def evaluation_config(self, cell: Cell) -> DictConfig:
        """Return the config of the cell's evaluation. All words of a concept are evaluated with the same noise."""
        images = (self.pictures / UNSEEN if cell.unseen else self.pictures) / cell.concept
        overrides = [f"images={quote(images)}", f"first={SHOWN}"]
        overrides += [f"seed={draw_of(cell.concept, 0)}"]
        overrides += [*self.evaluate, *cell.evaluate, "paths.run=none"]
        key = ("evaluate", *overrides)
        if key not in self._configs:
            self._configs[key] = _compose("evaluate", overrides)
        return self._configs[key]

    def learned_concepts(
        self, concepts: Sequence[str], seed: int, evaluate: Sequence[str] = ()
    ) -> dict[str, LearnedConcept]:
        """Learn one word of each concept by the paper's method. Failed words are left out. `evaluate` as in `Cell`.
        Raises CellFailed if all have failed."""
        cells, found = [Cell(concept, seed, (), tuple(evaluate)) for concept in concepts], {}
        self._check(cells)
        for cell, folder in self.words(cells).items():
            config = self.evaluation_config(cell)
            ldm, evaluation = self.parts(config)
            inputs = gather_inputs(config, ldm, load_words(folder)[0])
            of = evaluation_hash(config, folder.name)
            found[cell.concept] = LearnedConcept(inputs, evaluation, of, record_of(folder)["commit"])
        if not found:
            raise CellFailed("none of its words could be learned; cell.json in their folders holds the errors.")
        return found

    def _check(self, cells: Sequence[Cell]) -> None:
        """Raise UserError if networks or images are missing, before any word is learned."""
        self.parts(self.evaluation_config(cells[0]))
        wanted = {(c.images, c.first) for c in map(self.evaluation_config, cells)}
        concepts = [self.train_config(cell).concept for cell in cells if cell.learn is not None]
        for folder, first in sorted(wanted | {(c.images, c.first) for c in concepts}, key=str):
            load_pictures(Path(folder), 1, first)

    def words(self, cells: Sequence[Cell]) -> dict[Cell, Path]:
        """Learn the words of the cells; return their folders. Cells that learn nothing or have failed are left out."""
        configs = {cell: self.train_config(cell) for cell in cells if cell.learn is not None}
        by_folder = {Path(config.paths.run): config for config in configs.values()}
        todo = [config for folder, config in by_folder.items() if self._is_open(folder, FILE_NAME)]
        with tqdm(total=len(todo), desc="learning words", unit="word", disable=not todo) as bar:
            # Words with the same number of steps share the frozen model.
            for numbers, ldm in packs.group(todo, self.pack):
                self._learn([todo[i] for i in numbers], ldm)
                bar.update(len(numbers))
        found = {cell: Path(config.paths.run) for cell, config in configs.items()}
        return {cell: folder for cell, folder in found.items() if is_done(folder, FILE_NAME)}

    def results(self, cells: Sequence[Cell]) -> dict[Cell, dict[str, Any]]:
        """Run the cells; return the evaluation of each. "config" is the hash of its config, "commit" the commit of the
        code that evaluated it, and "word_commit" that of the code that learned its word. Failed cells are left out."""
        self._check(cells)
        words, found = self.words(cells), {}
        folders = {
            cell: self._evaluation_folder(cell, words.get(cell))
            for cell in cells
            if cell.learn is None or cell in words
        }
        todo = {folder: cell for cell, folder in folders.items() if self._is_open(folder, RESULT)}
        for folder, cell in tqdm(todo.items(), desc="evaluating", unit="cell", disable=not todo):
            self._evaluate(self.evaluation_config(cell), folder, words.get(cell))
        for cell, folder in folders.items():
            if is_done(folder, RESULT):
                result = read_json(folder / RESULT)
                origin = {"config": folder.name, "commit": record_of(folder)["commit"]}
                learned_by = record_of(words[cell])["commit"] if cell in words else None
                found[cell] = result | origin | {"word_commit": learned_by}
        return found

    def seconds(self, cells: Sequence[Cell]) -> dict[Cell, float]:
        """Learn the words of the cells again, each alone; return the seconds of each. Cells that learn nothing or have
        failed are left out, and so are words whose learning was interrupted."""
        alone = CellStore(self.folder / "alone", self.learn, self.evaluate, self.pictures, pack=1)
        found = {cell: record_of(folder).get("seconds") for cell, folder in alone.words(cells).items()}
        self.failed |= alone.failed
        return {cell: seconds for cell, seconds in found.items() if seconds is not None}

    def parts(self, config: DictConfig) -> tuple[LatentDiffusion, Evaluation]:
        """Return the model and the evaluation of a config. They are built only once."""
        key = json.dumps([OmegaConf.to_container(config[name], resolve=True) for name in ("module", "protocol")])
        if key not in self._built:
            require_weights(config)
            self._built[key] = build(config)
        return self._built[key]

    @property
    def classifier(self) -> AttributeClassifier | None:
        """The attribute classifier; None outside Toyland."""
        return self.parts(_compose("evaluate", [*self.evaluate, "paths.run=none"]))[1].classifier

    def _evaluation_folder(self, cell: Cell, word: Path | None) -> Path:
        known_by = evaluation_hash(self.evaluation_config(cell), word.name if word else None)
        return self.folder / "evaluations" / known_by

    def _is_open(self, folder: Path, file: str) -> bool:
        """Return whether the cell still has to run. Cells that failed in an earlier command run again."""
        return folder not in self.failed and not is_done(folder, file)

    def _evaluate(self, config: DictConfig, folder: Path, word: Path | None) -> None:
        try:
            ldm, evaluation = self.parts(config)
            inputs = gather_inputs(config, ldm, load_words(word)[0] if word else None)
            result = measure(config, evaluation, inputs)
        except Exception as error:
            self._fail(folder, error)
            return
        keep(folder, config, word, result)
        finish(folder)

    def _learn(self, configs: Sequence[DictConfig], ldm: LatentDiffusion | None) -> None:
        for config in configs:
            Path(config.paths.run).mkdir(parents=True, exist_ok=True)
            (Path(config.paths.run) / FILE_NAME).unlink(missing_ok=True)  # not finished, or broken
        is_whole = not any((Path(config.paths.run) / STATE).exists() for config in configs)  # nothing is resumed
        began = time.perf_counter()
        try:
            packs.fit(configs, ldm)
        except Preempted:
            raise
        except Exception as error:
            if len(configs) == 1:
                self._fail(Path(configs[0].paths.run), error)
                return
            log.warning("a pack of %d failed (%s): learning its halves apart", len(configs), error)
            for half in packs.halves(configs):
                self._learn(half, None)
            return
        alone = is_whole and len(configs) == 1
        seconds = {"seconds": round(time.perf_counter() - began, 1)} if alone else {}
        for config in configs:
            finish(Path(config.paths.run), **seconds)

    def _fail(self, folder: Path, error: Exception) -> None:
        log.warning("%s failed: %s", folder, explain(error) or f"{type(error).__name__}: {error}")
        self.failed.add(folder)
        said = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exception(error)}
        write_json(folder / CELL, {"state": "failed", "commit": commit(), **said})
