"""Prompts of Toyland with the labels that their images must show, and how often images show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from toyland.attributes import BACKGROUNDS, COMPANIONS, HAIRS, SKINS, STYLES
from toyland.captions import with_article
from toyland.dataset import RenderedScenes
from toyland.sampling import sample_scene

UNSAID = ("pattern", "plain")  # prompts do not mention that a toy is plain
# Groups of neighbouring colours: shades, light and the filters of styles move a colour into the range of a neighbour.
FAMILIES = (
    ("red", "orange", "brown", "pink"),
    ("yellow", "cream", "white"),
    ("lime", "green"),
    ("teal", "turquoise", "blue", "navy", "purple"),
    ("gray", "black"),
)
FAMILY = {name: family[0] for family in FAMILIES for name in family}


@dataclass(frozen=True)
class Prompt:
    """A prompt and the labels that an image of it must show, label -> value."""

    text: str
    labels: Mapping[str, str]


def held_out_prompts(count: int, seed: int) -> list[Prompt]:
    """Return prompts that name style, colours, pattern, class and background, with combinations of class, colour and
    background that the training images do not contain. For a toy without a pattern, the prompt names one colour, and
    the image may show any pattern."""
    prompts = []
    for i in range(count):
        scene = sample_scene(np.random.default_rng([seed, i]), named=0.0, held_out=True)
        toy, style = scene.toy, scene.style.name
        labels = {"class": toy.kind, "background": scene.background, "style": style}
        labels |= {} if style == "pencil" else {"color": toy.color.name}
        look = toy.color.name
        if ("pattern", toy.pattern) != UNSAID:
            labels["pattern"] = toy.pattern
            look += f" and {toy.color2.name} {toy.pattern}"
        text = f"{STYLES[style]} {with_article(f'{look} {toy.kind}')} {BACKGROUNDS[scene.background]}"
        prompts.append(Prompt(text, labels))
    return prompts


def prompts_of_two(count: int, seed: int) -> list[Prompt]:
    """Return prompts with a second figure, such as "a photo of a cat next to a red mug". They are not held out."""
    prompts = []
    for i in range(count):
        rng = np.random.default_rng([seed, i, 2])
        scene = sample_scene(rng, named=0.0)
        kind = scene.toy.kind
        other = [name for name in COMPANIONS if name != kind][int(rng.integers(len(COMPANIONS) - (kind in COMPANIONS)))]
        text = f"a photo of {with_article(kind)} next to {with_article(f'{scene.toy.color2.name} {other}')}"
        prompts.append(Prompt(text, {"class": kind, "companion": other}))
    return prompts


def faults(prompts: Sequence[Prompt], seen: Mapping[str, list[str]]) -> list[str]:
    """For each image, describe what it shows instead of what its prompt asks for; empty if nothing is wrong."""
    return [
        ", ".join(seen[label][i] or f"no {label}" for label, value in prompt.labels.items() if seen[label][i] != value)
        for i, prompt in enumerate(prompts)
    ]


def obedience(prompts: Sequence[Prompt], seen: Mapping[str, list[str]]) -> dict[str, float]:
    """For each label, return the fraction of images that show the requested value, among the prompts that request
    one."""
    right = [{name: float(seen[name][i] == value) for name, value in p.labels.items()} for i, p in enumerate(prompts)]
    return {str(name): share for name, share in pd.DataFrame(right).mean().items()}  # gaps are skipped


def obedience_of_photos(prompts: Sequence[Prompt], seen: Mapping[str, list[str]]) -> dict[str, float]:
    """Return the `obedience` of photos only: pencil drawings show no colours, and strokes and tiles break up
    patterns."""
    some = [i for i, prompt in enumerate(prompts) if prompt.labels["style"] == "photo"]
    return obedience([prompts[i] for i in some], {label: [values[i] for i in some] for label, values in seen.items()})


def true_prompts(scenes: RenderedScenes, known: Mapping[str, Sequence[str]]) -> list[Prompt]:
    """Return prompts without text whose labels are the ground truth of the scenes. They are limited to values in
    `known`, the values that a classifier knows, and to values that prompts mention (so no plain pattern)."""
    truth = [scenes.labels(i) for i in range(len(scenes))]
    return [Prompt("", {k: v for k, v in one.items() if v in known.get(k, ()) and (k, v) != UNSAID}) for one in truth]


def prompts_of_looks(count: int) -> list[Prompt]:
    """Return prompts for a doctor with each of the 16 looks in turn. They are not held out."""
    looks = list(product(SKINS, HAIRS))
    chosen = [looks[i % len(looks)] for i in range(count)]
    return [
        Prompt(f"a photo of a doctor with {h} hair and {s} skin", {"class": "doctor", "skin": s, "hair": h})
        for s, h in chosen
    ]


def family_share(prompts: Sequence[Prompt], seen: Mapping[str, list[str]]) -> float:
    """Return how often an image shows a colour of the same family as the main colour, among the prompts with one. If
    the prompt has a pattern, it may be either of the two colours that the classifier sees, because it is not always
    clear which one is the main one. Guessing gives about 35%."""
    right = []
    for i, labels in enumerate(prompt.labels for prompt in prompts):
        if "color" in labels:
            colors = [seen["color"][i]] + ([seen["color2"][i]] if "pattern" in labels else [])
            right.append(FAMILY[labels["color"]] in [FAMILY[color] for color in colors])
    return float(np.mean(right))


def face_share(prompts: Sequence[Prompt], seen: Mapping[str, list[str]], kinds: Sequence[str]) -> float:
    """Return how often an image shows a face, among the photos of `kinds`, the classes that have one."""
    asked = [i for i, p in enumerate(prompts) if p.labels["class"] in kinds and p.labels["style"] == "photo"]
    return float(np.mean([seen["face"][i] == "face" for i in asked]))
