"""Render the concepts that ship with the project, with their ground truth: toys without a name in the vocabulary,
styles that no training image has, and doctors with every skin and hair colour."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ldm.files import write_whole
from ldm.images import save_png
from toyland.attributes import HAIRS, SKINS, Scene, Style, Toy
from toyland.captions import describe, words
from toyland.dataset import truth
from toyland.names import concept_toy
from toyland.render import render
from toyland.sampling import sample_scene
from toyland.toys import sample_style, sample_toy

from . import PROJECT

FOLDER = PROJECT / "assets" / "concepts"
SHIPPED, MOST = 5, 25
TRUTH = "concept.json"
# Backgrounds of toys. The moon and the beach are kept for prompts with the learned word.
PLACES = ("studio", "meadow", "table", "forest", "snow")
CAPTIONS = {"short": ("long", 12), "long": ("full", 30)}  # level of detail, maximal number of words


@dataclass(frozen=True)
class Concept:
    """A concept: `scenes(count)` returns scenes that show it; `labels` are the labels of `truth` that all its images
    share."""

    scenes: Callable[[int], list[Scene]]
    labels: tuple[str, ...]


def toy_scenes(kind: str, seed: int, count: int) -> list[Scene]:
    """Return photos of a toy without a name in the vocabulary."""
    return photos_of(concept_toy(np.random.default_rng(seed), kind), seed, count)


def photos_of(toy: Toy, seed: int, count: int) -> list[Scene]:
    """Return photos of the toy alone, without clothes and not cut off. A smaller `count` returns the first scenes of a
    larger one."""
    rng = np.random.default_rng((seed, 1))
    return [_alone(rng, toy, PLACES[i % len(PLACES)]) for i in range(count)]


def style_scenes(style: str, seed: int, count: int) -> list[Scene]:
    """Return random scenes in one style."""
    painter = sample_style(np.random.default_rng(seed), style)
    rng = np.random.default_rng((seed, 1))
    return [sample_scene(rng, style=painter, named=0.0) for _ in range(count)]


def doctor_scenes(seed: int, count: int) -> list[Scene]:
    """Return doctors with all skin and hair colours equally often. In the training images, most doctors look alike."""
    rng = np.random.default_rng(seed)
    skins, hairs = tuple(SKINS), tuple(HAIRS)
    scenes = []
    for i in range(count):
        look = {"skin": skins[i % len(skins)], "hair": hairs[(i + i // len(skins)) % len(hairs)]}
        doctor = replace(sample_toy(rng, "doctor"), **look)
        scenes.append(_alone(rng, doctor, PLACES[i % len(PLACES)]))
    return scenes


def _alone(rng: np.random.Generator, toy: Toy, place: str) -> Scene:
    while True:
        scene = sample_scene(rng, toy=toy, background=place, style=Style(), view="normal")
        if scene.clothing is None and scene.companion is None and _is_whole(scene):
            return scene


def _is_whole(scene: Scene) -> bool:
    """Return whether the figure does not touch the edge of the image."""
    mask = render(scene).mask
    return not (mask[[0, -1]].any() or mask[:, [0, -1]].any())


def _toy(kind: str, seed: int) -> Concept:
    return Concept(partial(toy_scenes, kind, seed), ("class", "color", "pattern"))


# Seeds chosen by eye: two clearly different colours and a distinctive pattern, shape or stroke.
CONCEPTS = {
    "cat_toy": _toy("cat", 35),
    "teapot_toy": _toy("teapot", 84),
    "owl_toy": _toy("owl", 69),
    "dog_toy": _toy("dog", 108),
    "rabbit_toy": _toy("rabbit", 104),
    "elephant_toy": _toy("elephant", 102),
    "robot_toy": _toy("robot", 113),
    "car_toy": _toy("car", 124),
    "mushroom_toy": _toy("mushroom", 109),
    "duck_toy": _toy("duck", 126),
    "bear_toy": _toy("bear", 112),
    "oil_style": Concept(partial(style_scenes, "oil", 1), ("style",)),
    "pencil_style": Concept(partial(style_scenes, "pencil", 4), ("style",)),
    "mosaic_style": Concept(partial(style_scenes, "mosaic", 1), ("style",)),
    "watercolor_style": Concept(partial(style_scenes, "watercolor", 2), ("style",)),
    "comic_style": Concept(partial(style_scenes, "comic", 3), ("style",)),
    "pixel_style": Concept(partial(style_scenes, "pixel", 5), ("style",)),
    "doctors": Concept(partial(doctor_scenes, 11), ("class",)),
}
# Toys for pilot runs. They are not shipped, and none is among the measured ones.
PILOTS = {
    "pilot_bear": _toy("bear", 200_004),
    "pilot_rabbit": _toy("rabbit", 200_001),
    "pilot_teapot": _toy("teapot", 200_003),
    "pilot_robot": _toy("robot", 200_007),
}
EVERY = CONCEPTS | PILOTS


def captions(toy: Toy, kind: str) -> list[str]:
    """Return up to five different phrases that describe the toy as people would, for a `kind` in CAPTIONS."""
    detail, longest = CAPTIONS[kind]
    rng, phrases = np.random.default_rng(0), list[str]()
    for _ in range(1000):
        phrase = describe(toy, rng, detail)
        if len(words(phrase)) <= longest and phrase not in phrases:
            phrases.append(phrase)
        if len(phrases) == SHIPPED:
            break
    return phrases


def ground_truth(name: str, count: int = SHIPPED) -> dict:
    """Return every attribute of the concept's scenes as JSON values, and the labels that they share."""
    scenes = EVERY[name].scenes(count)
    labels = {label: truth(scenes[0])[label] for label in EVERY[name].labels}
    return {"name": name, "labels": labels, "pictures": [asdict(scene) for scene in scenes]}


def save_pictures(scenes: Sequence[Scene], folder: Path) -> None:
    for index, scene in enumerate(scenes):
        save_png(folder / f"{index:02d}.png", render(scene).image, optimize=True)


def write(name: str, folder: Path, count: int = SHIPPED) -> None:
    """Write `folder`/00.png, 01.png, ... (128 x 128) and concept.json; for a toy also short.txt and long.txt, captions
    with one phrase per line. Each file is replaced atomically, because another command may be reading it."""
    scenes = EVERY[name].scenes(count)
    save_pictures(scenes, folder)
    if "color" in EVERY[name].labels:
        for kind in CAPTIONS:
            lines = "\n".join(captions(scenes[0].toy, kind))
            write_whole(folder / f"{kind}.txt", f"{lines}\n".encode())
    text = json.dumps(ground_truth(name, count), indent=2)
    write_whole(folder / TRUTH, f"{text}\n".encode())
