"""Evaluate a word (Gal et al. 2022, section 5.1): both metrics of the paper, with a protocol that is stored together
with the results; with a classifier, also which labels the images show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ldm.errors import UserError
from ldm.files import read_json
from ldm.images import to_tensor
from ldm.weights.fingerprint import weights_hash

from ..captions import SLOT
from ..weighting import parse, plain
from .classifier import AttributeClassifier, perceptual_distance
from .evaluator import Evaluator
from .metrics import (
    brightness_correlation,
    image_similarity,
    published_text_similarity,
    similarity_among,
    text_similarity,
)
from .reidentification import Lineup
from .subjects import ImageOnly, Pipeline, Subject, without_word

RESULT = "evaluation.json"
VERSION = 1  # version of the definitions of the metrics


@dataclass(frozen=True)
class Prompt:
    """A prompt with a slot {} for the word. `kind` is the kind of the prompt (background, style, composition, ...);
    `shows` are the labels that its images must show in addition to the word, label -> value."""

    text: str
    kind: str
    shows: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.text.count(SLOT) != 1:
            raise UserError(f"the prompt {self.text!r} needs {SLOT} once, where the word goes")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation protocol: `samples` images of `reconstruction` for image similarity, and `prompt_samples` images of
    each of `prompts` for text similarity. If there is a `classifier`, it classifies all of them. If there is a
    `lineup`, it measures how many of the `samples` images show the same toy, and not another one of its class."""

    evaluator: Evaluator
    prompts: Sequence[Prompt]
    samples: int = 64
    prompt_samples: int = 64
    reconstruction: str = "A photo of {}"
    classifier: AttributeClassifier | None = None
    lineup: Lineup | None = None

    def __post_init__(self) -> None:
        if self.samples < 1 or self.prompt_samples < 1 or not self.prompts:
            raise UserError(
                f"an evaluation needs prompts and samples, not {len(self.prompts)} prompts, {self.samples} and "
                f"{self.prompt_samples} samples"
            )

    def to(self, device: str | torch.device) -> Self:
        """Move all networks to the device and freeze them in place; returns self."""
        lineup = self.lineup.network if self.lineup else None
        for network in filter(None, (self.evaluator, self.classifier, lineup)):
            network.to(device).eval().requires_grad_(False)
        return self

    def protocol(self, pipeline: Pipeline, images: np.ndarray) -> dict[str, Any]:
        """Return everything that the results depend on except for the subject, as JSON values. `images` are the
        training images."""
        sampler = pipeline.sampler
        return {
            "version": VERSION,
            "reconstruction": self.reconstruction,
            "samples": self.samples,
            "prompts": [{**asdict(prompt), "shows": dict(prompt.shows)} for prompt in self.prompts],
            "prompt_samples": self.prompt_samples,
            "seed": pipeline.seed,
            "sampler": f"{sampler.name}, {sampler.steps} steps, {sampler.spacing.__name__}",
            "guidance": pipeline.guidance,
            "image_size": int(images.shape[1]),
            "references": len(images),
            "model": weights_hash(pipeline.ldm),
            "evaluator": weights_hash(self.evaluator),
            "classifier": weights_hash(self.classifier) if self.classifier else None,
            "lineup": weights_hash(self.lineup.network) if self.lineup else None,
        }

    @torch.no_grad()
    def __call__(
        self,
        subject: Subject,
        pipeline: Pipeline,
        images: np.ndarray,
        truth: Mapping[str, str] | None = None,
        progress: bool = True,
    ) -> dict[str, Any]:
        """Evaluate `subject`; return the metrics and their protocol as JSON values. `images` are the training images,
        uint8 [m, H, W, 3]; `truth` are the labels that the word should show, label -> value."""
        truth = dict(truth or {}) if self.classifier else {}
        references = self.embed(to_tensor(images))
        photos = subject.generate([self.reconstruction], range(self.samples))
        among = similarity_among(references) if len(images) > 1 else None
        itself = isinstance(subject, ImageOnly)  # do not compare a training image with itself
        each = len(images) if itself else self.prompt_samples
        asked, at_once = [], max(1, pipeline.batch_size // each)
        with tqdm(total=len(self.prompts), desc="evaluating", unit="prompt", disable=not progress, leave=False) as bar:
            for start in range(0, len(self.prompts), at_once):
                some = self.prompts[start : start + at_once]
                generated = subject.generate([prompt.text for prompt in some], range(each)).split(each)
                asked += [self._measure(prompt, x, images, truth) for prompt, x in zip(some, generated, strict=True)]
                bar.update(len(some))
        return {
            "image_similarity": among if itself else image_similarity(self.embed(photos), references),
            "image_only": among,
            **({} if itself else self.reidentified(photos, images, truth)),
            **means(asked),
            "identity": shares(self._seen(photos), truth),
            "structure": self._structure(photos, images),
            "by_kind": {
                kind: means([row for row in asked if row["kind"] == kind]) for kind in {p.kind: 0 for p in self.prompts}
            },
            "prompts": asked,
            "protocol": self.protocol(pipeline, images),
        }

    def _measure(
        self, prompt: Prompt, generated: Tensor, images: np.ndarray, truth: Mapping[str, str]
    ) -> dict[str, Any]:
        samples, seen = self.embed(generated), self._seen(generated)
        (text,) = self.evaluator.embed_texts([plain(parse(without_word(prompt.text)))]).cpu()
        return {
            "text": prompt.text,
            "kind": prompt.kind,
            "text_similarity": text_similarity(samples, text),
            "text_similarity_published": published_text_similarity(samples, text),
            "shown": shares(seen, prompt.shows if self.classifier else {}),
            "kept": shares(seen, {"class": truth["class"]} if "class" in truth else {}),
            "demands": demands(seen, prompt.shows) if self.classifier else {},
            "edited": self._structure(generated, images),
        }

    def embed(self, images: Tensor) -> Tensor:
        """Embed images [n, 3, H, W] in [-1, 1] to [n, d], on the CPU."""
        parts = [self.evaluator.embed_images(x.to(self.evaluator.device)).cpu() for x in images.split(32)]
        return torch.cat(parts)

    def _seen(self, images: Tensor) -> dict[str, list[str]]:
        """Return the value of each label that the classifier sees in each image; empty without a classifier."""
        return self.classifier.names(images) if self.classifier else {}

    @torch.no_grad()
    def reidentified(self, photos: Tensor, images: np.ndarray, truth: Mapping[str, str]) -> dict[str, float]:
        """Return "reidentified", the fraction of `photos` [n, 3, h, w] in [-1, 1] that show the same toy as `images`,
        uint8 [m, H, W, 3]. Photos of another size are resized. Empty for other things than toys (according to `truth`,
        the labels of `images`), and without a line-up."""
        if self.lineup is None or not {"class", "color"} <= truth.keys():  # a word for a style or for a whole class
            return {}
        size = (images.shape[1], images.shape[2])
        resized = photos if photos.shape[2:] == size else F.interpolate(photos, size, mode="bilinear", antialias=True)
        return {"reidentified": self.lineup.found(resized, images, truth["class"])}

    def _structure(self, generated: Tensor, images: np.ndarray) -> dict[str, float]:
        """Compare the structure of each of the images `generated` with that of a training image: the one whose noise
        `Bipartite` starts from. For other subjects the numbers say what two images of the concept have in common."""
        of = to_tensor(images)[[i % len(images) for i in range(len(generated))]]
        pairs = zip(generated, of, strict=True)
        found = {"correlation": float(np.mean([brightness_correlation(x, y) for x, y in pairs]))}
        if self.classifier:
            found["distance"] = perceptual_distance(self.classifier, generated, of)
        return found


def shares(seen: Mapping[str, Sequence[str]], truth: Mapping[str, str]) -> dict[str, float]:
    """Return for each label in `truth` the fraction of images in which its value is `seen`. Raises UserError for a
    label that the classifier does not know."""
    unknown = sorted(set(truth) - set(seen))
    if unknown:
        raise UserError(f"the classifier does not know {', '.join(unknown)}: its labels are {', '.join(seen)}")
    return {name: float(np.mean([one == value for one in seen[name]])) for name, value in truth.items()}


def demands(seen: Mapping[str, Sequence[str]], shows: Mapping[str, str]) -> dict[str, float]:
    """Return "met", the fraction of the demands (labels that the prompt `shows`) that images meet, and "all_met", the
    fraction of images that meet all of them; empty for a prompt without demands."""
    if not shows:
        return {}
    met = np.array([[one == value for one in seen[name]] for name, value in shows.items()])
    return {"met": float(met.mean()), "all_met": float(met.all(axis=0).mean())}


def means(asked: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean of each metric over the rows of several prompts that have it."""
    found: dict[str, list[float]] = {}
    for row in asked:
        numbers = {name: row[name] for name in ("text_similarity", "text_similarity_published")}
        numbers |= {
            f"{group}_{name}": v for group in ("shown", "kept", "demands", "edited") for name, v in row[group].items()
        }
        for name, value in numbers.items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def summary(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a result as one flat table."""
    numbers = {name: value for name, value in result.items() if isinstance(value, float)}
    groups = {f"{group}_{name}": v for group in ("identity", "structure") for name, v in result.get(group, {}).items()}
    kinds = {f"demands_met_{kind}": found.get("demands_met") for kind, found in result.get("by_kind", {}).items()}
    return numbers | groups | {name: value for name, value in kinds.items() if value is not None}


def read_result(file: Path) -> dict[str, Any] | None:
    """Read a file of an evaluation; None if it does not exist, or is broken."""
    found = read_json(file)
    if not isinstance(found, dict) or not all(isinstance(found.get(name), dict) for name in ("identity", "protocol")):
        return None
    numbers = [found.get("text_similarity"), *found["identity"].values()]
    numbers += [found.get(name) for name in ("image_similarity", "image_only") if found.get(name) is not None]
    return found if all(isinstance(number, float) and math.isfinite(number) for number in numbers) else None


def require_same_protocol(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise a UserError that names the differences, unless all results (name -> result) have the same protocol."""
    (first, one), *others = results.items()
    for name, other in others:
        keys = one["protocol"].keys() | other["protocol"].keys()
        unlike = [k for k in sorted(keys) if one["protocol"].get(k) != other["protocol"].get(k)]
        if unlike:
            raise UserError(
                f"{first} and {name} cannot be compared: they were evaluated with a different {', '.join(unlike)}."
            )
