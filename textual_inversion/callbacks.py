"""Callbacks that write the output of an inversion: the word, previews during training, the contact sheet, the
evaluation, and messages."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as L
from PIL import Image

from ldm.files import relative, write_json
from ldm.images import save_png, to_uint8
from ldm.sampling import Sampler
from ldm.training.products import Products, made_of

from .captions import fill
from .evaluation.evaluation import RESULT, Evaluation
from .evaluation.subjects import Pipeline, SubjectInputs, Word, labels_in
from .figures.sheets import PictureRow, save_sheet
from .generation import generate_images
from .learner import TextualInversion
from .pictures import load_pictures
from .prompts import check_templates
from .words.file import FILE_NAME, provenance, save_words

log = logging.getLogger(__name__)


SHEET = "contact_sheet.png"


def numbered(name: str, i: int) -> str:
    """Return the name of the file of concept i: "contact_sheet.png", "contact_sheet_1.png", ..."""
    return f"_{i}.".join(name.split(".")) if i else name


class SaveWords(L.Callback):
    """Writes `folder`/learned_embeds.safetensors at every validation and at the end. The provenance of the words
    includes the resolved config.yaml in `folder`."""

    def __init__(self, folder: str, model: str) -> None:
        self.path, self.model, self.products = Path(folder) / FILE_NAME, model, Products(folder)

    def on_validation_end(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        self._save(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        if trainer.is_global_zero:
            of = made_of(pl_module.numbers(trainer.global_step, *pl_module.concepts), pl_module.changes)
            if not self.products.has(FILE_NAME, of):  # keep the date
                self._save(trainer, pl_module)
                self.products.add(FILE_NAME, of)

    def _save(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        if trainer.is_global_zero and trainer.global_step:
            steps, config = trainer.global_step, self.path.with_name("config.yaml")
            settings = {"config": config.read_text(encoding="utf-8")} if config.is_file() else {}
            settings |= {"changes": pl_module.changes} if pl_module.changes else {}
            words = [
                pl_module.word(
                    concept,
                    steps,
                    provenance(concept, steps=steps, model=self.model, fingerprint=pl_module.ldm.fingerprint)
                    | {"nearest_words": pl_module.nearest_words(concept.placeholder), **settings},
                )
                for concept in pl_module.concepts
            ]
            save_words(self.path, words)


class Previews(L.Callback):
    """Before the first step and after the steps `at_steps`, writes an image of `prompt`, always from the same noise:
    `folder`/<concept>-<step>.png."""

    def __init__(self, folder: str, at_steps: Sequence[int], prompt: str, sampler: Sampler, guidance: float) -> None:
        fill(prompt, "the new word")  # raise an error for a prompt without a slot now, not during training
        self.folder, self.at_steps, self.prompt = Path(folder), frozenset(at_steps), prompt
        self.options = {"sampler": sampler, "guidance": guidance, "progress": False}

    def on_fit_start(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        _check([self.prompt], self.options["sampler"], pl_module)

    def on_train_start(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        self._generate(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: TextualInversion, *_: Any) -> None:
        self._generate(trainer, pl_module)

    def _generate(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        if trainer.global_step in self.at_steps and trainer.is_global_zero:
            for i, concept in enumerate(pl_module.concepts):
                prompt = fill(self.prompt, concept.placeholder)
                picture = generate_images(pl_module.ldm, [prompt], pl_module.embeddings, **self.options)
                save_png(self.folder / f"{i}-{trainer.global_step:05d}.png", to_uint8(picture)[0])


class ContactSheet(L.Callback):
    """At the end, writes a sheet for each concept, `folder`/contact_sheet.png (the first), contact_sheet_1.png, ... Its
    rows are the training images, the word over the steps (from `previews`), and the word in each of `prompts`."""

    def __init__(
        self, folder: str, previews: str, prompts: Sequence[str], columns: int, sampler: Sampler, guidance: float
    ) -> None:
        for prompt in prompts:
            fill(prompt, "the new word")  # raise an error for a prompt without a slot now, not after the last step
        self.folder, self.previews, self.prompts, self.columns = Path(folder), Path(previews), list(prompts), columns
        self.options = {"sampler": sampler, "guidance": guidance}
        self.products = Products(folder)

    def on_fit_start(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        _check(self.prompts, self.options["sampler"], pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        if not trainer.is_global_zero:
            return
        step, sampler = trainer.global_step, self.options["sampler"]
        settings = (self.prompts, self.columns, self.options["guidance"], sampler.name, sampler.steps)
        for i, concept in enumerate(pl_module.concepts):
            name = numbered(SHEET, i)
            of = made_of(pl_module.numbers(step, concept), *settings)
            if not self.products.has(name, of):
                rows = [PictureRow("training pictures", pl_module.pictures[i].images[: self.columns])]
                rows += self._over_the_steps(i, concept.placeholder, step)
                rows += self._in_new_sentences(pl_module, concept.placeholder)
                save_sheet(self.folder / name, rows)
                self.products.add(name, of)

    def _over_the_steps(self, i: int, placeholder: str, last: int) -> list[PictureRow]:
        steps = {file: int(file.stem.split("-")[1]) for file in sorted(self.previews.glob(f"{i}-*.png"))}
        files = [file for file, step in steps.items() if step <= last][-self.columns :]  # not those of a longer run
        if not files:
            return []
        captions = [f"step {steps[file]}" for file in files]
        return [
            PictureRow(f"{placeholder} over the steps", np.stack([np.asarray(Image.open(f)) for f in files]), captions)
        ]

    def _in_new_sentences(self, pl_module: TextualInversion, placeholder: str) -> list[PictureRow]:
        prompts = [fill(prompt, placeholder) for prompt in self.prompts]
        repeated = [prompt for prompt in prompts for _ in range(self.columns)]
        images = to_uint8(generate_images(pl_module.ldm, repeated, pl_module.embeddings, **self.options))
        pieces = np.split(images, len(prompts))
        return [PictureRow(f'"{prompt}"', piece) for prompt, piece in zip(prompts, pieces, strict=True)]


class Evaluate(L.Callback):
    """At the end, evaluates each word and writes `folder`/evaluation.json (the first concept), evaluation_1.json, ...
    The references are all images in the concept's folder, so that words learned from fewer of them can be compared."""

    def __init__(self, folder: str, evaluation: Evaluation, sampler: Sampler, guidance: float) -> None:
        self.folder, self.evaluation, self.sampler, self.guidance = Path(folder), evaluation, sampler, guidance
        self.products = Products(folder)

    def on_fit_start(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        prompts = [*(prompt.text for prompt in self.evaluation.prompts), self.evaluation.reconstruction]
        _check(prompts, self.sampler, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        if not trainer.is_global_zero:
            return
        evaluation = self.evaluation.to(pl_module.device)
        pipeline = Pipeline(pl_module.ldm, self.sampler, self.guidance)
        for i, (concept, pictures) in enumerate(zip(pl_module.concepts, pl_module.pictures, strict=True)):
            word = pl_module.word(concept, trainer.global_step)
            folder = Path(concept.images)
            images = load_pictures(folder, pictures.images.shape[1], tell=False).images
            numbers = pl_module.numbers(trainer.global_step, concept)
            name, of = numbered(RESULT, i), made_of(numbers, evaluation.protocol(pipeline, images))
            if not self.products.has(name, of):
                inputs = SubjectInputs(pipeline, word, folder, images)
                write_json(self.folder / name, evaluation(Word(inputs), pipeline, images, labels_in(folder)))
                self.products.add(name, of)


def _check(templates: Sequence[str], sampler: Sampler, pl_module: TextualInversion) -> None:
    """Check prompts and the sampler before the first step, not when their images are due."""
    sampler.timesteps(len(pl_module.ldm.alpha_bar))
    for concept in pl_module.concepts:
        check_templates(templates, concept.placeholder, pl_module.embeddings)


class Messages(L.Callback):
    """Logs at the start what will be learned, and at the end where the results are and what to try next. `command` is
    the command that generates images with the words of a run."""

    def __init__(self, folder: str, command: str) -> None:
        self.folder, self.command = Path(relative(folder)), command

    def on_fit_start(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        samples = pl_module.batch_size * trainer.world_size  # of one step
        for concept, pictures in zip(pl_module.concepts, pl_module.pictures, strict=True):
            log.info(
                "learning %s from %d pictures in %s, starting from %r: %d steps of %d samples (each picture about %d "
                "times), learning rate %g",
                concept.placeholder,
                len(pictures.images),
                concept.images,
                concept.initializer,
                trainer.max_steps,
                samples,
                samples * trainer.max_steps // len(pictures.images),
                concept.learning_rate,
            )

    def on_fit_end(self, trainer: L.Trainer, pl_module: TextualInversion) -> None:
        for concept in pl_module.concepts:
            near = ", ".join(pl_module.nearest_words(concept.placeholder))
            log.info("%s is learned; the words nearest to it are %s", concept.placeholder, near)
        prompt = shlex.quote(f"prompt=a photo of {pl_module.concepts[0].placeholder} on the moon")
        word = shlex.quote(f"word={self.folder}")
        for what, name in (("contact sheet:  ", SHEET), ("the word:       ", FILE_NAME)):
            if (self.folder / name).is_file():
                log.info("%s %s", what, self.folder / name)
        if (self.folder / FILE_NAME).is_file():
            log.info("generate more:   %s %s %s", self.command, word, prompt)
