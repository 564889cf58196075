"""The model of the page: generate and edit pictures with learned words, and read a word."""

import logging
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from ldm.errors import UserError, require_number, require_whole
from ldm.files import read_json
from ldm.images import to_uint8
from textual_inversion import api, blended
from textual_inversion.embedding_manager import initial_vectors
from textual_inversion.evaluation.subjects import Pipeline
from textual_inversion.generation import manager_of
from textual_inversion.picture_file import read_square
from textual_inversion.prompts import check_prompts
from textual_inversion.words.file import LearnedWord

from .. import CONFIGS
from ..model import load_frozen
from ..read_word import Reading, look_into

MOST_PROMPTS, MOST_LETTERS, MOST_IMAGES, MOST_GUIDANCE = 8, 500, 24, 50.0
SAMPLERS = sorted(path.stem for path in (CONFIGS / "sampler").glob("*.yaml"))
FIGURES = {  # the files of scripts/read_word.py and what they show
    "between": "From the coarse word to the learned one",
    "left_out": "Without one of its vectors",
    "vocabulary": "The nearest words, and the length",
    "attention": "Where in the picture it is attended to",
}


class PageModel:
    """The frozen model of the config's scale. Between two uses it leaves the GPU to the trainings."""

    def __init__(self, config: DictConfig) -> None:
        self.ldm = load_frozen(config)
        self.device, self.image_size, self.guidance = self.ldm.device, config.image_size, config.guidance
        self.ldm.to("cpu")

    @contextmanager
    def _model(self) -> Iterator[None]:
        self.ldm.to(self.device)
        try:
            yield
        finally:
            self.ldm.to("cpu")

    @property
    def initializers(self) -> list[str]:
        """Words to suggest to somebody who looks for a coarse word."""
        return self.ldm.text_encoder.tokenizer.initializers

    def require_known(self, initializer: str) -> None:
        """Raise UserError for a coarse word that the model does not know."""
        try:
            initial_vectors(self.ldm.text_encoder, initializer, 1)
        except UserError as error:
            raise UserError(str(error).replace("the initializer", "The word")) from None

    def generate(
        self, prompts: str, words: Sequence[LearnedWord], sampler: str, guidance: float, seed: int, count: int
    ) -> tuple[list[Image.Image], list[str], list[str]]:
        """Generate `count` images of each line of `prompts`. Returns them, the prompt of each, and what the model has
        said about the prompts."""
        lines = _lines(prompts)
        _require_range(guidance, seed)
        require_whole("The number of pictures", count, 1)
        if len(lines) * count > MOST_IMAGES:
            raise UserError(f"These are {len(lines) * count} pictures, at most {MOST_IMAGES} are generated at once.")
        repeated = [line for line in lines for _ in range(count)]
        with collect_messages() as notes, self._model():
            images = api.generate(
                self.ldm, repeated, words, sampler=_sampler(sampler), guidance=guidance, seed=seed, progress=False
            )
        return images, repeated, notes

    def edit(
        self, image: np.ndarray, mask: np.ndarray, prompt: str, words: Sequence[LearnedWord], seed: int, count: int
    ) -> tuple[list[np.ndarray], list[str]]:
        """Edit `image`, uint8 [size, size, 3], under `mask`, bool [size, size]. Returns `count` images, and what the
        model has said about the prompt."""
        (line, *more) = _lines(prompt)
        if more:
            raise UserError("An edit has one prompt: write it on one line.")
        _require_range(self.guidance, seed)
        require_whole("The number of pictures", count, 1)
        if count > MOST_IMAGES:
            raise UserError(f"At most {MOST_IMAGES} pictures are generated at once.")
        if mask.all() or not mask.any():
            what = "The whole picture is brushed" if mask.all() else "Nothing is brushed"
            raise UserError(f"{what}: brush over the part that is generated anew, and leave what is kept.")
        with collect_messages() as notes, self._model():
            embeddings = manager_of(self.ldm, words)
            check_prompts([line], embeddings)
            pipeline = Pipeline(self.ldm, _sampler("ddim"), self.guidance, seed)
            edits = to_uint8(blended.edit(pipeline, [line] * count, embeddings, image, mask))
        return list(edits), notes

    def read(self, word: LearnedWord) -> tuple[dict[str, np.ndarray], dict]:
        """Return the figures of scripts/read_word.py for the word, by the names in `FIGURES`, and its numbers."""
        prompts = ["a photo of {}", "a photo of {} on the moon"]
        with tempfile.TemporaryDirectory() as folder, self._model():
            look_into(self.ldm, word, None, Reading(prompts, _sampler("dpm_solver"), self.guidance), Path(folder))
            files = {name: Path(folder) / f"{name}.png" for name in FIGURES}
            figures = {name: np.asarray(Image.open(f).convert("RGB")) for name, f in files.items() if f.is_file()}
            return figures, read_json(Path(folder) / "word.json")


def square(path: Path, size: int) -> np.ndarray:
    """Return the centre square of an uploaded file, uint8 [size, size, 3]."""
    try:
        return np.asarray(read_square(path, size))
    except UserError as error:
        raise UserError(str(error).replace(str(path), path.name)) from None


def _sampler(name: str):
    if name not in SAMPLERS:
        raise UserError(f"There is no sampler {name!r}.")
    return instantiate(OmegaConf.load(CONFIGS / "sampler" / f"{name}.yaml"))


def _lines(prompts: str) -> list[str]:
    lines = [line.strip() for line in prompts.splitlines() if line.strip()] if isinstance(prompts, str) else []
    if not lines:
        raise UserError("There is no prompt: write what the pictures shall show, such as 'a photo of S* on the moon'.")
    if len(lines) > MOST_PROMPTS or max(map(len, lines)) > MOST_LETTERS:
        raise UserError(f"At most {MOST_PROMPTS} prompts of {MOST_LETTERS} letters are read at once.")
    return lines


def _require_range(guidance: float, seed: int) -> None:
    require_number("The guidance", guidance)
    require_whole("The seed", seed, 0)
    if abs(guidance) > MOST_GUIDANCE or seed >= 2**31:
        raise UserError(f"The guidance is at most {MOST_GUIDANCE:g}, and the seed below {2**31}.")


@contextmanager
def collect_messages() -> Iterator[list[str]]:
    """Collect the warnings that this thread logs in the block: what the model says about a prompt."""
    notes: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                notes.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logging.getLogger().addHandler(listener)
    try:
        yield notes
    finally:
        logging.getLogger().removeHandler(listener)
