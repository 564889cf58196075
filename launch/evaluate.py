"""scripts/evaluate.py: measure the two metrics of the paper for a learned word, or for a baseline without one."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ldm.errors import UserError
from ldm.files import write_json
from ldm.latent_diffusion import LatentDiffusion
from textual_inversion.evaluation.evaluation import RESULT, Evaluation, read_result, require_same_protocol, summary
from textual_inversion.evaluation.subjects import Pipeline, SubjectInputs, labels_in
from textual_inversion.pictures import load_pictures
from textual_inversion.words.file import LearnedWord, load_words

from .model import load_frozen
from .ownership import owned
from .recorded import concepts_in
from .shell import script

log = logging.getLogger("evaluate")


def the_word(path: Path, width: int) -> LearnedWord:
    """Load the word to evaluate. Raises UserError if the file holds several."""
    word, *more = load_words(path, width)
    if more:
        split = script("embeddings", "split", str(path), "<new folder>")
        raise UserError(f"{path} holds {1 + len(more)} words. Evaluate one of them, after {split}.")
    return word


def folder_of_pictures(config: DictConfig, word: LearnedWord | None) -> Path:
    """Return `images`, or the folder that the word was learned from, according to its provenance. Raises UserError if
    neither is known."""
    found = config.images or folder_of_word(word)
    if found is None:
        raise UserError("which pictures should it be compared with? Give images=<folder>.")
    return Path(found)


def folder_of_word(word: LearnedWord | None) -> str | None:
    """Return the folder that the word was learned from, according to its provenance; None if it is not known."""
    return concepts_in(word.provenance.get("config")).get(word.placeholder) if word else None


def build(config: DictConfig) -> tuple[LatentDiffusion, Evaluation]:
    """Build the model and the evaluation, on the GPU if there is one."""
    ldm = load_frozen(config)
    return ldm, instantiate(config.protocol, _convert_="all").to(ldm.device)


def gather_inputs(config: DictConfig, ldm: LatentDiffusion, word: LearnedWord | None) -> SubjectInputs:
    """Collect the inputs of the evaluated subject: pipeline, word, and reference images."""
    folder = folder_of_pictures(config, word)
    images = load_pictures(folder, config.image_size, config.first).images
    pipeline = Pipeline(ldm, instantiate(config.sampler), config.guidance, config.seed, config.batch_size)
    return SubjectInputs(pipeline, word, folder, images)


def measure(config: DictConfig, evaluation: Evaluation, inputs: SubjectInputs) -> dict[str, Any]:
    """Evaluate the subject of the config; return the metrics and their protocol."""
    subject = instantiate(config.subject, _convert_="all")(inputs)
    return evaluation(subject, inputs.pipeline, inputs.images, labels_in(inputs.folder))


def complete(config: DictConfig, word: str | Path | None) -> DictConfig:
    """Return the config with the path of the word."""
    return cast(DictConfig, OmegaConf.merge(config, {"word": str(Path(word)) if word else None}))


def keep(folder: Path, config: DictConfig, word: Path | None, result: Mapping[str, Any]) -> None:
    """Write the metrics to the folder, and the config with the path of the word."""
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(complete(config, word), folder / "config.yaml", resolve=True)
    write_json(folder / RESULT, result)


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Format a table with one line per metric and one column per result."""
    numbers = pd.DataFrame({name: summary(result) for name, result in results.items()})
    return numbers.to_string(float_format="{:.3f}".format, na_rep="")


def others(paths: list[str]) -> dict[str, dict[str, Any]]:
    """Load earlier results. Raises UserError if a file is not a result."""
    found = {}
    for path in map(Path, paths):
        file = path / RESULT if path.is_dir() else path
        result = read_result(file)
        if result is None:
            raise UserError(f"{file} is not a result of evaluate.py: give another file, or evaluate again.")
        found[str(path)] = result
    return found


def evaluate(config: DictConfig) -> None:
    """Evaluate the subject of the config, write the metrics to the run folder and print them."""
    beside = others([config.against] if isinstance(config.against, str) else list(config.against))
    with owned(complete(config, config.word), "config", RESULT, "config.yaml") as folder:
        _evaluate(config, beside, folder)


def _evaluate(config: DictConfig, beside: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    ldm, evaluation = build(config)
    word = None if config.word is None else the_word(Path(config.word), ldm.text_encoder.width)
    inputs = gather_inputs(config, ldm, word)
    if beside:  # before any sampling; only if needed, since the protocol takes a hash of all weights
        require_same_protocol({"this": {"protocol": evaluation.protocol(inputs.pipeline, inputs.images)}, **beside})
    result = measure(config, evaluation, inputs)
    write_json(folder / RESULT, result)  # beside config.yaml, which `owned` has written
    log.info("all metrics and their protocol: %s", folder / RESULT)
    log.info("%s", table({"this": result, **beside}))
