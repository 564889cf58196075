"""scripts/read_word.py: what is in a learned word. Numbers, plots and sheets of images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from ldm.conditioning import TextEncoder
from ldm.errors import UserError
from ldm.files import relative, write_json
from ldm.images import to_uint8
from ldm.latent_diffusion import LatentDiffusion
from ldm.sampling import Sampler
from textual_inversion.captions import fill
from textual_inversion.embedding_manager import EmbeddingManager, initial_vectors
from textual_inversion.figures.sheets import PictureRow, save_figure
from textual_inversion.figures.words import attention_plot, vocabulary_plot
from textual_inversion.generation import generate_images, manager_of
from textual_inversion.setups import PerLayer
from textual_inversion.weighting import parse, plain
from textual_inversion.words.file import LearnedWord
from textual_inversion.words.probing import Vocabulary, between, watch_attention, without_vector

from .given import as_list
from .model import load_frozen
from .ownership import owning

log = logging.getLogger("read_word")

NEAREST = 8  # words listed for each vector
SHORT = 3  # letters; the attention to such words of a prompt (a, of, the) is not shown


def start_of(word: LearnedWord, other: str | None, text: TextEncoder, vocabulary: Vocabulary) -> tuple[str, Tensor]:
    """Return the name and the vectors from which the word is approached, in the shape of its own: those of the file
    `other`, or the initializer that the word was learned from, or if the file does not name one, the nearest word."""
    if other is not None:
        found = LearnedWord.load(other)
        found.require_fit(text.width, None, other)
        if found.layers not in (None, word.layers):
            raise UserError(f"{other}: the word {found.placeholder!r} has vectors for each layer: read it alone.")
        return found.placeholder, _like(word, found.vectors)
    name = word.provenance.get("initializer")
    if not isinstance(name, str):
        ((name, _),) = vocabulary.nearest(word.vectors.view(-1, word.width)[0], 1)
    return f'"{name}"', _like(word, initial_vectors(text, name, len(word.vectors)).cpu())


def _like(word: LearnedWord, vectors: Tensor) -> Tensor:
    """Return the vectors for each layer if the word has them."""
    return vectors if word.layers is None else PerLayer().begin(vectors, word.layers)


def names_of(word: LearnedWord) -> list[str]:
    """Return a name for each of the word's vectors, those of the first one's layers first."""
    k = len(word.vectors)
    names = [word.placeholder] if k == 1 else [f"{word.placeholder}, vector {i}" for i in range(k)]
    return names if word.layers is None else [f"{name}, layer {i}" for name in names for i in range(word.layers)]


def tokens_of(prompt: str, embeddings: EmbeddingManager) -> dict[str, list[int]]:
    """Return the places of the word and of the prompt's other long words among the prompt's tokens."""
    tokenizer = embeddings.tokenizer
    places: dict[str, list[int]] = {}
    for place, token in enumerate(embeddings.tokenize([plain(parse(prompt, embeddings))])[0].tolist()):
        own = token >= tokenizer.vocab_size
        name = embeddings.placeholders[0] if own else tokenizer.word(token)
        if own or (name.isalpha() and len(name) > SHORT):
            places.setdefault(name, []).append(place)
    return places


def images_of(ldm: LatentDiffusion, prompts: list[str], words: Sequence[Tensor], options: dict) -> np.ndarray:
    """Generate an image of every prompt with the vectors of every one of `words` in its slot {}, all from the same
    noise: uint8 [prompts, words, H, W, 3]."""
    names = [f"<{i}>" for i in range(len(words))]
    embeddings = EmbeddingManager(ldm.text_encoder.tokenizer, dict(zip(names, words, strict=True))).to(ldm.device)
    texts = [fill(prompt, name) for prompt in prompts for name in names]
    images = to_uint8(generate_images(ldm, texts, embeddings, indices=[0] * len(texts), **options))
    return images.reshape(len(prompts), len(words), *images.shape[1:])


def save_rows(path: Path, titles: list[str], images: np.ndarray, captions: list[str]) -> None:
    """Write a row of images per title, images uint8 [titles, n, H, W, 3], with the n captions below each row."""
    save_figure(path, [PictureRow(title, some, captions) for title, some in zip(titles, images, strict=True)])


def compare_with_vocabulary(path: Path, vocabulary: Vocabulary, vectors: dict[str, Tensor]) -> dict[str, Any]:
    """Plot the named `vectors` [width], the start first, against the vocabulary. Returns the numbers of each."""
    start = next(iter(vectors.values()))
    nearest = {name: dict(vocabulary.nearest(vector, NEAREST)) for name, vector in vectors.items()}
    norms = {name: float(vector.norm()) for name, vector in vectors.items()}
    vocabulary_plot(path, nearest, vocabulary.embeddings.norm(dim=1).cpu(), norms)
    found = {
        name: {
            "nearest": nearest[name],
            "norm": norms[name],
            "share_of_shorter_words": vocabulary.norm_quantile(vector),
            "cosine_with_start": float(torch.cosine_similarity(vector, start, dim=0)),
        }
        for name, vector in vectors.items()
    }
    for name, one in found.items():
        near = ", ".join(f"{each} {cosine:.2f}" for each, cosine in one["nearest"].items())
        longer = 100.0 * one["share_of_shorter_words"]
        log.info("%s: norm %.2f, longer than %.0f%% of the vocabulary; near %s", name, one["norm"], longer, near)
    return found


@dataclass(frozen=True)
class Reading:
    """How a word is looked into: the `prompts`, templates with a slot {}, of which the last one is that of the
    attention; the sampler, guidance and seed; the number of images `between` the start and the word, both included; and
    the number of sampling steps whose attention is `shown`. Raises UserError for values that give nothing."""

    prompts: list[str]
    sampler: Sampler
    guidance: float
    seed: int = 0
    between: int = 9
    shown: int = 6

    def __post_init__(self) -> None:
        if self.between < 2 or not self.prompts:
            raise UserError("between must be at least 2, and there must be a prompt.")


@owning("read_word", "word.json", "vocabulary.*", "between.*", "left_out.*", "attention.*")
def read_word(config: DictConfig) -> None:
    """Write the plots, the rows of images and `word.json` to the run folder."""
    folder = Path(config.paths.run)
    reading = Reading(
        as_list(config.prompt), instantiate(config.sampler), config.guidance, config.seed, config.between, config.shown
    )
    word = LearnedWord.load(config.word)
    for prompt in reading.prompts:
        fill(prompt, word.placeholder)  # raises the error of a prompt without a slot before the model is built
    word.require_no_mapper("reading a word")
    ldm = load_frozen(config)
    word.require_fit(ldm.text_encoder.width, ldm.fingerprint, config.word)
    look_into(ldm, word, config.other, reading, folder)
    log.info("plots, images and word.json are in %s", relative(folder))


def look_into(ldm: LatentDiffusion, word: LearnedWord, other: str | None, reading: Reading, folder: Path) -> None:
    """Write the plots, the rows of images and `word.json` to `folder`. `other` is as in `start_of`."""
    word.require_no_mapper("reading a word")
    word.require_layers(ldm.unet.cross_attention_layers)
    titles = [fill(prompt, word.placeholder) for prompt in reading.prompts]
    text, vocabulary = ldm.text_encoder, Vocabulary.of(ldm.text_encoder)
    start_name, start = start_of(word, other, text, vocabulary)
    steps = between(start, word.vectors, reading.between)
    options = {"sampler": reading.sampler, "guidance": reading.guidance, "seed": reading.seed}

    k = len(word.vectors)
    rows = word.vectors.view(-1, word.width)
    vectors = {start_name: start.view(-1, word.width)[0]} | dict(zip(names_of(word), rows, strict=True))
    numbers = compare_with_vocabulary(folder / "vocabulary", vocabulary, vectors)
    captions = [start_name, *("" for _ in steps[2:]), word.placeholder]
    save_rows(folder / "between", titles, images_of(ldm, reading.prompts, steps, options), captions)
    if k > 1:
        parts = [word.vectors, *(without_vector(word.vectors, i) for i in range(k))]
        captions = ["all vectors", *(f"without vector {i}" for i in range(k))]
        save_rows(folder / "left_out", titles, images_of(ldm, reading.prompts, parts, options), captions)

    embeddings, prompt = manager_of(ldm, [word]), titles[-1]
    attended = watch_attention(ldm, embeddings, prompt, shown=reading.shown, **options)
    tokens = tokens_of(prompt, embeddings)
    attention_plot(folder / "attention", attended, tokens)
    attention = [
        {"t": step.t} | {name: float(step.maps[own].sum(dim=0).mean()) for name, own in tokens.items()}
        for step in attended
    ]
    write_json(
        folder / "word.json",
        {"word": word.placeholder, "start": start_name, "vectors": numbers, "prompt": prompt, "attention": attention},
    )
