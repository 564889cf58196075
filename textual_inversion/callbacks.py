"""What an inversion leaves behind: the word, previews over the steps, the contact sheet, and a last line that says
where."""

import logging
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as L
from PIL import Image

from ldm.files import write_json
from ldm.images import save_png, to_uint8
from ldm.sampling import Sampler
from ldm.weights.fingerprint import weights_hash

from .captions import fill
from .evaluation.evaluation import RESULT, Evaluation
from .evaluation.subjects import Pipeline, SubjectInputs, Word, labels_in
from .figures.sheets import PictureRow, save_sheet
from .generation import generate
from .learner import TextualInversion
from .pictures import load_pictures
from .words.file import FILE_NAME, LearnedWord, provenance, save_words

log = logging.getLogger(__name__)


class SaveWords(L.Callback):
    """`folder`/learned_embeds.safetensors at every validation and at the end, with where the words come from; the
    resolved config.yaml that lies in `folder` goes with them."""

    def __init__(self, folder: str, model: str) -> None:
        self.path, self.model = Path(folder) / FILE_NAME, model
        self.fingerprint = ""

    def setup(self, trainer: L.Trainer, pl_module: TextualInversion, stage: str) -> None:
        """Before the learner's own, which may round the weights."""
        self.fingerprint = weights_hash(pl_module.ldm.cond_stage_model)

    def on_validation_end(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        self._save(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        self._save(trainer, pl_module)

    def _save(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        if trainer.is_global_zero and trainer.global_step:
            steps, config = trainer.global_step, self.path.with_name("config.yaml")
            settings = {"config": config.read_text(encoding="utf-8")} if config.is_file() else {}
            words = [
                LearnedWord(
                    concept.placeholder,
                    pl_module.learned(concept, steps),
                    provenance(concept, steps=steps, model=self.model, fingerprint=self.fingerprint)
                    | {"nearest_words": pl_module.nearest_words(concept.placeholder), **settings},
                )
                for concept in pl_module.concepts
            ]
            save_words(self.path, words)


class Previews(L.Callback):
    """Before the first step and after some, a picture of `prompt` from the same noise:
    `folder`/<concept>-<step>.png."""

    def __init__(self, folder: str, at_steps: Sequence[int], prompt: str, sampler: Sampler, guidance: float) -> None:
        fill(prompt, "the new word")  # a prompt without a slot is an error now and not when the picture is due
        self.folder, self.at_steps, self.prompt = Path(folder), frozenset(at_steps), prompt
        self.options = {"sampler": sampler, "guidance": guidance, "progress": False}

    def on_train_start(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        self._paint(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: TextualInversion, *_: Any) -> None:
        self._paint(trainer, pl_module)

    def _paint(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        if trainer.global_step in self.at_steps and trainer.is_global_zero:
            for i, concept in enumerate(pl_module.concepts):
                prompt = fill(self.prompt, concept.placeholder)
                picture = generate(pl_module.ldm, [prompt], pl_module.embeddings, **self.options)
                save_png(self.folder / f"{i}-{trainer.global_step:05d}.png", to_uint8(picture)[0])


class ContactSheet(L.Callback):
    """At the end, for each concept, `folder`/contact_sheet.png (the first), contact_sheet_1.png, ...: training pictures
    | the word over the steps, from `previews` | the word in each of `prompts`."""

    def __init__(
        self, folder: str, previews: str, prompts: Sequence[str], columns: int, sampler: Sampler, guidance: float
    ) -> None:
        for prompt in prompts:
            fill(prompt, "the new word")  # a prompt without a slot is an error now and not after the last step
        self.folder, self.previews, self.prompts, self.columns = Path(folder), Path(previews), list(prompts), columns
        self.options = {"sampler": sampler, "guidance": guidance}

    def on_train_end(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        if trainer.is_global_zero:
            for i, concept in enumerate(pl_module.concepts):
                rows = [PictureRow("training pictures", pl_module.pictures[i].images[: self.columns])]
                rows += self._over_the_steps(i, concept.placeholder)
                rows += self._in_new_sentences(pl_module, concept.placeholder)
                save_sheet(self.folder / (f"contact_sheet_{i}.png" if i else "contact_sheet.png"), rows)

    def _over_the_steps(self, i: int, placeholder: str) -> list[PictureRow]:
        files = sorted(self.previews.glob(f"{i}-*.png"))[-self.columns :]
        if not files:
            return []
        captions = [f"step {int(file.stem.split('-')[1])}" for file in files]
        return [
            PictureRow(f"{placeholder} over the steps", np.stack([np.asarray(Image.open(f)) for f in files]), captions)
        ]

    def _in_new_sentences(self, pl_module: TextualInversion, placeholder: str) -> list[PictureRow]:
        prompts = [fill(prompt, placeholder) for prompt in self.prompts]
        repeated = [prompt for prompt in prompts for _ in range(self.columns)]
        images = to_uint8(generate(pl_module.ldm, repeated, pl_module.embeddings, **self.options))
        pieces = np.split(images, len(prompts))
        return [PictureRow(f'"{prompt}"', piece) for prompt, piece in zip(prompts, pieces, strict=True)]


class Evaluate(L.Callback):
    """At the end, `folder`/evaluation.json (the first concept's), evaluation_1.json, ...: how well each word is
    learned, compared with all pictures of its folder, so that words of fewer pictures can be compared."""

    def __init__(self, folder: str, evaluation: Evaluation, sampler: Sampler, guidance: float) -> None:
        self.folder, self.evaluation, self.sampler, self.guidance = Path(folder), evaluation, sampler, guidance

    def on_train_end(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        if not trainer.is_global_zero:
            return
        evaluation = self.evaluation.to(pl_module.device)
        pipeline = Pipeline(pl_module.ldm, self.sampler, self.guidance)
        for i, (concept, pictures) in enumerate(zip(pl_module.concepts, pl_module.pictures, strict=True)):
            word = LearnedWord(concept.placeholder, pl_module.learned(concept, trainer.global_step))
            folder = Path(concept.images)
            images = load_pictures(folder, pictures.images.shape[1]).images
            result = evaluation(
                Word(SubjectInputs(pipeline, word, folder, images)), pipeline, images, labels_in(folder)
            )
            name = f"_{i}.".join(RESULT.split(".")) if i else RESULT
            write_json(self.folder / name, result)


class Messages(L.Callback):
    """The first lines of a run, what will be done; and the last, where everything is and what to try: `command` paints
    with the words of a run."""

    def __init__(self, folder: str, command: str) -> None:
        self.folder, self.command = os.path.relpath(folder), command

    def on_fit_start(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        samples = trainer.max_steps * pl_module.batch_size
        for concept, pictures in zip(pl_module.concepts, pl_module.pictures, strict=True):
            log.info(
                "learning %s from %d pictures in %s, starting from %r: %d steps of %d samples (each picture about %d "
                "times), learning rate %g",
                concept.placeholder,
                len(pictures.images),
                concept.images,
                concept.initializer,
                trainer.max_steps,
                pl_module.batch_size,
                samples // len(pictures.images),
                concept.learning_rate,
            )

    def on_fit_end(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        for concept in pl_module.concepts:
            near = ", ".join(pl_module.nearest_words(concept.placeholder))
            log.info("%s is learned; the words nearest to it are %s", concept.placeholder, near)
        prompt = f"a photo of {pl_module.concepts[0].placeholder} on the moon"
        prompt = shlex.quote(f'prompt="{prompt}"')  # for Hydra, the quotes within: it would not take <cat-toy> bare
        word = shlex.quote(f"word={self.folder}")
        log.info("contact sheet:   %s/contact_sheet.png", self.folder)
        log.info("the word:        %s/%s", self.folder, FILE_NAME)
        log.info("paint more with: %s %s %s", self.command, word, prompt)
