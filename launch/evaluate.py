"""What scripts/evaluate.py does: the paper's two metrics of a learned word, or of what stands in for one."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ldm.files import write_json
from ldm.latent_diffusion import LatentDiffusion
from textual_inversion.evaluation.evaluation import RESULT, Evaluation, require_same_protocol, summary
from textual_inversion.evaluation.subjects import Pipeline, SubjectInputs, labels_in
from textual_inversion.pictures import load_pictures
from textual_inversion.words.file import LearnedWord, load_words

log = logging.getLogger("evaluate")


def the_word(path: Path, width: int) -> LearnedWord:
    """The one that is to be evaluated. Raises ValueError for a file of several."""
    word, *more = load_words(path, width)
    if more:
        raise ValueError(
            f"{path} holds {1 + len(more)} words: take it apart with scripts/embeddings.py split, and evaluate one."
        )
    return word


def folder_of_pictures(config: DictConfig, word: LearnedWord | None) -> Path:
    """`images`, or the folder that the word says it was learned from. Raises ValueError if neither is known."""
    if config.images is not None:
        return Path(config.images)
    settings = OmegaConf.create(word.provenance["config"]) if word and "config" in word.provenance else None
    concepts = settings.module.concepts if isinstance(settings, DictConfig) else []
    for concept in concepts:
        if word and concept.placeholder == word.placeholder:
            return Path(concept.images)
    raise ValueError("which pictures should it be compared with? Give images=<folder>.")


def build(config: DictConfig) -> tuple[LatentDiffusion, Evaluation]:
    """Builds the model and what evaluates it, on the GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ldm = instantiate(config.module.ldm, _convert_="all").freeze(instantiate(config.module.frozen_dtype))
    return ldm.to(device), instantiate(config.protocol, _convert_="all").to(device)


def gather_inputs(config: DictConfig, ldm: LatentDiffusion, word: LearnedWord | None) -> SubjectInputs:
    """What the config evaluates, or lets something evaluate that is made of it."""
    folder = folder_of_pictures(config, word)
    images = load_pictures(folder, config.image_size, config.first).images
    pipeline = Pipeline(ldm, instantiate(config.sampler), config.guidance, config.seed, config.batch_size)
    return SubjectInputs(pipeline, word, folder, images)


def measure(config: DictConfig, evaluation: Evaluation, inputs: SubjectInputs) -> dict[str, Any]:
    """The numbers that the config asks for, with their protocol."""
    subject = instantiate(config.subject, _convert_="all")(inputs)
    return evaluation(subject, inputs.pipeline, inputs.images, labels_in(inputs.folder))


def keep(folder: Path, config: DictConfig, word: Path | None, result: Mapping[str, Any]) -> None:
    """Leaves the numbers in the folder, and what they are of: the config, with the word's path."""
    folder.mkdir(parents=True, exist_ok=True)
    of = {"word": str(word) if word else None}
    OmegaConf.save(OmegaConf.merge(config, of), folder / "config.yaml", resolve=True)
    write_json(folder / RESULT, result)


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a number, one column a result."""
    numbers = {name: summary(result) for name, result in results.items()}
    rows = list(dict.fromkeys(row for column in numbers.values() for row in column))
    wide = max(len(row) for row in rows)
    columns = [max(len(name), 8) for name in numbers]
    lines = [" " * wide + "".join(f"  {name:>{w}}" for name, w in zip(numbers, columns, strict=True))]
    for row in rows:
        cells = [f"{c[row]:.3f}" if row in c else "" for c in numbers.values()]
        lines.append(f"{row:{wide}}" + "".join(f"  {cell:>{w}}" for cell, w in zip(cells, columns, strict=True)))
    return "\n".join(lines)


def others(paths: list[str]) -> dict[str, dict[str, Any]]:
    """Earlier results. Raises ValueError for a file that holds none."""
    found = {}
    for path in map(Path, paths):
        file = path / RESULT if path.is_dir() else path
        try:
            found[str(path)] = json.loads(file.read_text(encoding="utf-8"))
            summary(found[str(path)])
            found[str(path)]["protocol"]
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{file} is no result of evaluate.py ({error}).") from error
    return found


def evaluate(config: DictConfig) -> None:
    """The command: evaluates what the config says, keeps the numbers in the run folder and prints them."""
    folder = Path(config.paths.run)
    beside = others([config.against] if isinstance(config.against, str) else list(config.against))
    ldm, evaluation = build(config)
    word = None if config.word is None else the_word(Path(config.word), ldm.cond_stage_model.width)
    inputs = gather_inputs(config, ldm, word)
    if beside:  # before anything is painted; to know the protocol takes a hash of all weights
        require_same_protocol({"this": {"protocol": evaluation.protocol(inputs.pipeline, inputs.images)}, **beside})
    result = measure(config, evaluation, inputs)
    keep(folder, config, Path(config.word) if config.word else None, result)
    log.info("%s holds all numbers and their protocol", folder / RESULT)
    log.info("%s", table({"this": result, **beside}))
