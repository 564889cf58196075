"""Subjects of an evaluation: a learned word, or a baseline that takes its place in a prompt (Gal et al. 2022, section
5.1). Each class is built from the same `SubjectInputs`; a config names the class."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ldm.errors import UserError
from ldm.files import read_json
from ldm.images import to_tensor
from ldm.latent_diffusion import LatentDiffusion
from ldm.sampling import Sampler, conditioned, ddim, ddim_invert

from ..captions import SLOT, fill
from ..embedding_manager import EmbeddingManager
from ..generation import generate_images, manager_of
from ..prompts import encode_prompts, require_unsaid
from ..weighting import escape
from ..words.file import LearnedWord


class Subject(Protocol):
    """An evaluated subject. Sample i of a template depends only on i and on the seed of the protocol."""

    def generate(self, templates: Sequence[str], samples: range) -> Tensor:
        """Generate the samples of the first template, then those of the next: [len(templates) * len(samples), 3, H, W]
        in [-1, 1], on the CPU."""
        ...


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The frozen model with its settings for sampling."""

    ldm: LatentDiffusion
    sampler: Sampler
    guidance: float
    seed: int = 0
    batch_size: int = 8

    def __call__(self, prompts: Sequence[str], samples: range, embeddings: EmbeddingManager | None = None) -> Tensor:
        """Generate the samples of the first prompt, then those of the next: [len(prompts) * len(samples), 3, H, W]."""
        repeated = [prompt for prompt in prompts for _ in samples]
        return self.each(repeated, [*samples] * len(prompts), embeddings)

    def each(
        self, prompts: Sequence[str], numbers: Sequence[int], embeddings: EmbeddingManager | None = None
    ) -> Tensor:
        """Generate one image per prompt, each from the noise of the sample with its number."""
        return generate_images(
            self.ldm,
            prompts,
            embeddings,
            sampler=self.sampler,
            guidance=self.guidance,
            seed=self.seed,
            indices=numbers,
            batch_size=self.batch_size,
            progress=False,
        )

    @torch.no_grad()
    def invert(self, images: np.ndarray, prompt: str, embeddings: EmbeddingManager) -> Tensor:
        """Return the noise z_T [m, c, h, w] from which DDIM generates `images`, uint8 [m, H, W, 3], again with `prompt`
        and without guidance. Raises UserError if the sampler is not DDIM."""
        ldm = self.ldm
        if self.sampler.solve is not ddim:
            raise UserError(f"inversion needs DDIM, not {self.sampler.name}: use sampler=ddim.")
        c = encode_prompts(ldm.text_encoder, [prompt], embeddings)
        x = to_tensor(images).to(ldm.device)
        eps = conditioned(ldm.denoiser(), c)
        return ddim_invert(
            eps, ldm.encode_first_stage(x).mean, ldm.alpha_bar, self.sampler.timesteps(len(ldm.alpha_bar))
        )

    @torch.no_grad()
    def from_noise(self, prompts: Sequence[str], z_T: Tensor, embeddings: EmbeddingManager) -> Tensor:
        """Generate one image per prompt from the noise z_T [n, c, h, w]: [n, 3, H, W] in [-1, 1], on the CPU."""
        ldm, generated = self.ldm, []
        for start in range(0, len(prompts), self.batch_size):
            some = slice(start, start + self.batch_size)
            c = encode_prompts(ldm.text_encoder, prompts[some], embeddings)
            generated.append(ldm.sample(c, z_T[some], self.sampler, self.guidance).clamp(-1.0, 1.0).cpu())
        return torch.cat(generated)


@dataclass(frozen=True, eq=False)
class SubjectInputs:
    """The inputs of a subject: `pipeline`, the learned `word`, the `folder` of its images, and the `images` themselves,
    uint8 [m, H, W, 3]."""

    pipeline: Pipeline
    word: LearnedWord | None
    folder: Path
    images: np.ndarray

    def require_word(self) -> LearnedWord:
        """Return the word. Raises UserError if there is none."""
        if self.word is None:
            raise UserError("there is no learned word to evaluate: add word=<run folder, or file of a word>.")
        return self.word


def labels_in(folder: Path) -> dict[str, str]:
    """Read the labels that all images in the folder share from its concept.json; empty without such a file. Raises
    UserError for a file without labels, label -> value."""
    file = folder / "concept.json"
    if not file.is_file():
        return {}
    record = read_json(file)
    labels = record.get("labels", {}) if isinstance(record, dict) else None
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise UserError(
            f'{file} is broken: it must hold JSON such as {{"labels": {{"class": "cat"}}}}. Mend or remove it.'
        )
    return labels


def without_word(template: str) -> str:
    """Return the template with an empty slot."""
    return " ".join(template.replace(SLOT, " ").split())


class Word:
    """The learned word."""

    def __init__(self, inputs: SubjectInputs) -> None:
        word = inputs.require_word()
        self.pipeline, self.placeholder = inputs.pipeline, word.placeholder
        self.embeddings = manager_of(self.pipeline.ldm, [word])

    def generate(self, templates: Sequence[str], samples: range) -> Tensor:
        require_unsaid(templates, self.placeholder)
        return self.pipeline([fill(template, self.placeholder) for template in templates], samples, self.embeddings)


class Captions:
    """Captions in place of S*: the lines of `file` in the concept's folder, in turn. Each template begins with another
    line, so that a few samples of each show all captions."""

    def __init__(self, inputs: SubjectInputs, file: str) -> None:
        self.pipeline, path = inputs.pipeline, inputs.folder / file
        if not path.is_file():
            raise UserError(f"there are no captions at {path}: write phrases that replace S*, one per line.")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is no text in UTF-8 ({error}): save it as UTF-8.") from error
        self.captions = [line.strip() for line in lines if line.strip()]
        if not self.captions:
            raise UserError(f"{path} is empty: write phrases that replace S*, one per line.")

    def generate(self, templates: Sequence[str], samples: range) -> Tensor:
        prompts = [fill(template, escape(self._caption(template, i))) for template in templates for i in samples]
        return self.pipeline.each(prompts, [*samples] * len(templates))

    def _caption(self, template: str, sample: int) -> str:
        return self.captions[(zlib.crc32(template.encode()) + sample) % len(self.captions)]


class PromptOnly:
    """The prompt without S*."""

    def __init__(self, inputs: SubjectInputs) -> None:
        self.pipeline = inputs.pipeline

    def generate(self, templates: Sequence[str], samples: range) -> Tensor:
        return self.pipeline([without_word(template) for template in templates], samples)


class ImageOnly:
    """The training images, regardless of the prompt. Their image similarity is taken between different images."""

    def __init__(self, inputs: SubjectInputs) -> None:
        self.images = to_tensor(inputs.images)

    def generate(self, templates: Sequence[str], samples: range) -> Tensor:
        return self.images[[i % len(self.images) for _ in templates for i in samples]]


class Bipartite:
    """Bipartite inversion (Gal et al. 2022, appendix A): find the noise from which DDIM reproduces a training image
    with the prompt `source`, and use this noise with other prompts. Raises UserError if the sampler is not DDIM."""

    def __init__(self, inputs: SubjectInputs, source: str = "A photo of {}") -> None:
        word, self.pipeline = inputs.require_word(), inputs.pipeline
        self.placeholder, self.embeddings = word.placeholder, manager_of(inputs.pipeline.ldm, [word])
        self.z_T = self.pipeline.invert(inputs.images, fill(source, word.placeholder), self.embeddings)

    def generate(self, templates: Sequence[str], samples: range) -> Tensor:
        prompts = [fill(template, self.placeholder) for template in templates for _ in samples]
        z_T = self.z_T[[i % len(self.z_T) for _ in templates for i in samples]]
        return self.pipeline.from_noise(prompts, z_T, self.embeddings)
