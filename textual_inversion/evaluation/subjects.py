"""Who stands in for S* in a prompt: a learned word, or what the paper compares it with (Gal et al. 2022, section 5.1).

Each factory takes the same `SubjectInputs` and gives a subject; a config names the factory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ldm.images import to_tensor
from ldm.latent_diffusion import LatentDiffusion
from ldm.sampling import Sampler, conditioned, ddim, ddim_invert

from ..captions import SLOT, fill
from ..embedding_manager import EmbeddingManager
from ..generation import generate, manager_of
from ..words.file import LearnedWord


class Subject(Protocol):
    """Sample number i of a template depends on i and on the protocol's seed alone."""

    def paint(self, templates: Sequence[str], samples: range) -> Tensor:
        """The samples of the first template, then those of the next: [len(templates) * len(samples), 3, H, W] in
        [-1, 1], on the CPU."""
        ...


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The frozen model with the settings that it is evaluated with."""

    ldm: LatentDiffusion
    sampler: Sampler
    guidance: float
    seed: int = 0
    batch_size: int = 8

    def __call__(self, prompts: Sequence[str], samples: range, embeddings: EmbeddingManager | None = None) -> Tensor:
        """The samples of the first prompt, then those of the next: [len(prompts) * len(samples), 3, H, W]."""
        repeated = [prompt for prompt in prompts for _ in samples]
        return self.each(repeated, [*samples] * len(prompts), embeddings)

    def each(
        self, prompts: Sequence[str], numbers: Sequence[int], embeddings: EmbeddingManager | None = None
    ) -> Tensor:
        """One picture a prompt, from the noise of the sample with its number."""
        return generate(
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


@dataclass(frozen=True, eq=False)
class SubjectInputs:
    """What a subject may be made of: `pipeline`, the learned `word`, `folder` of its pictures, and these, uint8
    [m, H, W, 3]."""

    pipeline: Pipeline
    word: LearnedWord | None
    folder: Path
    images: np.ndarray

    def require_word(self) -> LearnedWord:
        """The word. Raises ValueError if none is there."""
        if self.word is None:
            raise ValueError("there is no learned word to evaluate: give word=<run folder, or file of a word>.")
        return self.word


def labels_in(folder: Path) -> dict[str, str]:
    """What every picture in the concept's folder shows, from its concept.json; nothing if there is none."""
    file = folder / "concept.json"
    return json.loads(file.read_text(encoding="utf-8")).get("labels", {}) if file.is_file() else {}


def without_word(template: str) -> str:
    """The template with nothing in its slot: what the text alone asks for."""
    return " ".join(template.replace(SLOT, " ").split())


class Word:
    """The learned word itself."""

    def __init__(self, inputs: SubjectInputs) -> None:
        word = inputs.require_word()
        self.pipeline, self.placeholder = inputs.pipeline, word.placeholder
        self.embeddings = manager_of(self.pipeline.ldm, [word])

    def paint(self, templates: Sequence[str], samples: range) -> Tensor:
        return self.pipeline([fill(template, self.placeholder) for template in templates], samples, self.embeddings)


class Captions:
    """What a person says instead of S*: the lines of `file` in the concept's folder, in turn."""

    def __init__(self, inputs: SubjectInputs, file: str) -> None:
        self.pipeline, path = inputs.pipeline, inputs.folder / file
        if not path.is_file():
            raise ValueError(f"there are no captions at {path}: write what stands for S*, one phrase a line.")
        self.captions = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not self.captions:
            raise ValueError(f"{path} is empty: write what stands for S*, one phrase a line.")

    def paint(self, templates: Sequence[str], samples: range) -> Tensor:
        captions = [self.captions[i % len(self.captions)] for i in samples]
        prompts = [fill(template, caption) for template in templates for caption in captions]
        return self.pipeline.each(prompts, [*samples] * len(templates))


class PromptOnly:
    """The prompt without S*."""

    def __init__(self, inputs: SubjectInputs) -> None:
        self.pipeline = inputs.pipeline

    def paint(self, templates: Sequence[str], samples: range) -> Tensor:
        return self.pipeline([without_word(template) for template in templates], samples)


class ImageOnly:
    """The training pictures, whatever the prompt. Their image similarity is that of different pictures."""

    def __init__(self, inputs: SubjectInputs) -> None:
        self.images = to_tensor(inputs.images)

    def paint(self, templates: Sequence[str], samples: range) -> Tensor:
        return self.images[[i % len(self.images) for _ in templates for i in samples]]


class Bipartite:
    """Bipartite inversion (Gal et al. 2022, appendix A): the noise from which DDIM paints a training picture as
    `source`, and with it another text. Raises ValueError for a painter whose sampler is another."""

    def __init__(self, inputs: SubjectInputs, source: str = "A photo of {}") -> None:
        word, pipeline = inputs.require_word(), inputs.pipeline
        if pipeline.sampler.solve is not ddim:
            raise ValueError(
                f"DDIM finds the noise, {pipeline.sampler.solve.__name__} cannot follow: give sampler=ddim."
            )
        self.pipeline, self.placeholder, ldm = pipeline, word.placeholder, pipeline.ldm
        self.embeddings = manager_of(ldm, [word])
        c = self.embeddings.encode(ldm.cond_stage_model, [fill(source, word.placeholder)])
        x = to_tensor(inputs.images).to(ldm.device)
        eps = conditioned(ldm.eps, c.expand(len(x), -1, -1))
        timesteps = pipeline.sampler.spacing(pipeline.sampler.steps, len(ldm.alpha_bar))
        self.z_T = ddim_invert(eps, ldm.encode_first_stage(x).mean, ldm.alpha_bar, timesteps)

    @torch.no_grad()
    def paint(self, templates: Sequence[str], samples: range) -> Tensor:
        pipeline, ldm = self.pipeline, self.pipeline.ldm
        prompts = [fill(template, self.placeholder) for template in templates for _ in samples]
        z_T = self.z_T[[i % len(self.z_T) for _ in templates for i in samples]]
        painted = []
        for start in range(0, len(prompts), pipeline.batch_size):
            some = slice(start, start + pipeline.batch_size)
            c = self.embeddings.encode(ldm.cond_stage_model, prompts[some])
            painted.append(ldm.sample(c, z_T[some], pipeline.sampler, pipeline.guidance).clamp(-1.0, 1.0).cpu())
        return torch.cat(painted)
