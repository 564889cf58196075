"""Render the concepts that ship with the project, with their ground truth: 24 unnamed toys, 8 styles of no painter, and
doctors of varied looks. Each toy has two sets of images: a varied one, and one in home/, most of it in a single place,
as people photograph what they own.

python scripts/concepts.py                       # five images of each, into assets/concepts
python scripts/concepts.py cat_toy --count 25 --into /tmp/concepts
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ldm.errors import UserError
from ldm.files import write_whole
from ldm.images import save_webp
from toyland.attributes import HAIRS, SKINS, Scene, Style, Toy
from toyland.captions import describe, words
from toyland.names import concept_style, concept_toy
from toyland.render import render
from toyland.sampling import sample_scene
from toyland.toys import sample_toy
from toyland.truth import truth

from . import PROJECT

FOLDER = PROJECT / "assets" / "concepts"
SHIPPED, MOST = 5, 25  # images of a concept: those that are shipped, and those for figures over the number of images
OTHERS = 100_000  # seed of the first toy of a line-up; no concept uses this and the following ones
TRUTH, HOME, UNSEEN = "concept.json", "home", "unseen"
# The places of the training images. Others, such as the moon and the beach, are left for prompts.
PLACES = ("studio", "meadow", "table", "forest", "snow")
AT_HOME = (True, True, False, True, False)  # which of five images of a home set are at home
# For each file of captions, the level of detail (`captions.DETAILS`) and the most words. Both tell more than the
# captions of training do, to tell toys apart.
CAPTIONS = {"short": ("long", 12), "long": ("full", 30)}


@dataclass(frozen=True)
class Concept:
    """A concept. `scenes(count)` returns scenes that show it. `labels` names the labels of `truth` that all of them
    share. `home(count)` returns scenes of which most are in one place; only toys have it."""

    scenes: Callable[[int], list[Scene]]
    labels: tuple[str, ...]
    home: Callable[[int], list[Scene]] | None = None


def toy_scenes(kind: str, seed: int, count: int) -> list[Scene]:
    """Return photos of an unnamed toy of class `kind`."""
    return toy_photos(concept_toy(np.random.default_rng(seed), kind), seed, count)


def toy_photos(toy: Toy, seed: int, count: int) -> list[Scene]:
    """Return photos of the toy alone, without clothing and not cut off. A smaller `count` returns the first scenes of a
    larger one."""
    rng = np.random.default_rng((seed, 1))
    return [_sample_alone(rng, toy, PLACES[i % len(PLACES)]) for i in range(count)]


def home_scenes(kind: str, seed: int, count: int) -> list[Scene]:
    """Return photos of the toy of `toy_scenes`, three in five of them in the same place."""
    toy, rng = concept_toy(np.random.default_rng(seed), kind), np.random.default_rng((seed, 2))
    home = PLACES[seed % len(PLACES)]
    away = [place for place in PLACES if place != home]
    places = [home if AT_HOME[i % 5] else away[(i // 2) % len(away)] for i in range(count)]
    return [_sample_alone(rng, toy, place) for place in places]


def other_toys(kind: str, count: int, photos: int) -> np.ndarray:
    """Render `photos` of each of `count` unnamed toys of class `kind` that are no concepts, for a line-up: uint8
    [count, photos, 128, 128, 3]. All keep a distance from the toys that have names, but none from the concepts."""
    toys = (toy_scenes(kind, OTHERS + i, photos) for i in range(count))
    return np.array([[render(scene).image for scene in scenes] for scenes in toys])


def style_scenes(style: str, seed: int, count: int) -> list[Scene]:
    """Return scenes of random unnamed toys in random places, all in one new setting of `style`."""
    painter = concept_style(np.random.default_rng(seed), style)
    rng = np.random.default_rng((seed, 1))
    return [sample_scene(rng, style=painter, named=0.0) for _ in range(count)]


def doctor_scenes(seed: int, count: int) -> list[Scene]:
    """Return photos of doctors in which each skin and each hair is about equally frequent. In training, one look
    prevails."""
    rng = np.random.default_rng(seed)
    skins, hairs = tuple(SKINS), tuple(HAIRS)
    scenes = []
    for i in range(count):
        look = {"skin": skins[i % len(skins)], "hair": hairs[(i + i // len(skins)) % len(hairs)]}
        doctor = replace(sample_toy(rng, "doctor"), **look)
        scenes.append(_sample_alone(rng, doctor, PLACES[i % len(PLACES)]))
    return scenes


def _sample_alone(rng: np.random.Generator, toy: Toy, place: str) -> Scene:
    """Sample a photo of the toy in this place, without clothing and companion, and not cut off."""
    while True:
        scene = sample_scene(rng, toy=toy, background=place, style=Style(), view="normal")
        if scene.clothing is None and scene.companion is None and _is_whole(scene):
            return scene


def _is_whole(scene: Scene) -> bool:
    """Return whether the edge of the image cuts nothing off the figure."""
    mask = render(scene).mask
    return not (mask[[0, -1]].any() or mask[:, [0, -1]].any())


def _toy(kind: str, seed: int) -> Concept:
    return Concept(partial(toy_scenes, kind, seed), ("class", "color", "pattern"), partial(home_scenes, kind, seed))


def _style(name: str, seed: int) -> Concept:
    return Concept(partial(style_scenes, name, seed), ("style",))


# The seeds were chosen by eye, for two clearly different colours and distinctive patterns, marks or strokes.
CONCEPTS = {
    "cat_toy": _toy("cat", 31715),
    "teapot_toy": _toy("teapot", 1279),
    "owl_toy": _toy("owl", 467),
    "dog_toy": _toy("dog", 107),
    "rabbit_toy": _toy("rabbit", 245),
    "elephant_toy": _toy("elephant", 522),
    "robot_toy": _toy("robot", 823),
    "car_toy": _toy("car", 1127),
    "mushroom_toy": _toy("mushroom", 1447),
    "duck_toy": _toy("duck", 615),
    "bear_toy": _toy("bear", 363),
    "fish_toy": _toy("fish", 784),
    "snowman_toy": _toy("snowman", 1000),
    "mug_toy": _toy("mug", 1404),
    "tree_toy": _toy("tree", 1527),
    "kitten_toy": _toy("cat", 63),
    "puppy_toy": _toy("dog", 214),
    "bunny_toy": _toy("rabbit", 241),
    "cub_toy": _toy("bear", 384),
    "owlet_toy": _toy("owl", 455),
    "calf_toy": _toy("elephant", 588),
    "duckling_toy": _toy("duck", 634),
    "droid_toy": _toy("robot", 894),
    "toadstool_toy": _toy("mushroom", 1437),
    "oil_style": _style("oil", 1),
    "pencil_style": _style("pencil", 4),
    "mosaic_style": _style("mosaic", 8),
    "watercolor_style": _style("watercolor", 2),
    "comic_style": _style("comic", 3),
    "pixel_style": _style("pixel", 5),
    "impasto_style": _style("oil", 6),
    "ink_style": _style("comic", 7),
    "doctors": Concept(partial(doctor_scenes, 11), ("class",)),
}
# Concepts for pilot runs. They are not shipped, and none is among the measured ones.
PILOTS = {
    "pilot_bear": _toy("bear", 200_004),
    "pilot_rabbit": _toy("rabbit", 200_001),
    "pilot_teapot": _toy("teapot", 200_003),
    "pilot_robot": _toy("robot", 200_007),
    "pilot_mug": _toy("mug", 200_009),
    "pilot_oil": _style("oil", 200_011),
    "pilot_mosaic": _style("mosaic", 200_012),
    "pilot_pixel": _style("pixel", 200_013),
    "pilot_doctors": Concept(partial(doctor_scenes, 200_014), ("class",)),
}
EVERY = CONCEPTS | PILOTS


def captions(toy: Toy, length: str) -> list[str]:
    """Return up to five different descriptions of the toy, of a `length` in CAPTIONS."""
    detail, longest = CAPTIONS[length]
    rng, phrases = np.random.default_rng(0), list[str]()
    for _ in range(1000):
        phrase = describe(toy, rng, detail)
        if len(words(phrase)) <= longest and phrase not in phrases:
            phrases.append(phrase)
        if len(phrases) == SHIPPED:
            break
    return phrases


def ground_truth(name: str, scenes: Sequence[Scene]) -> dict:
    """Return all attributes of `scenes` of concept `name`, and the labels that they share, as JSON values."""
    labels = {label: truth(scenes[0])[label] for label in EVERY[name].labels}
    return {"name": name, "labels": labels, "pictures": [asdict(scene) for scene in scenes]}


def save_pictures(scenes: Sequence[Scene], folder: Path) -> None:
    """Render the scenes into `folder`/00.webp, 01.webp, ... Raises UserError if the folder holds further images, which
    would be learned from as well."""
    names = [f"{index:02d}.webp" for index in range(len(scenes))]
    further = sorted(file.name for file in folder.glob("[0-9][0-9].*") if file.name not in names)
    if further:
        raise UserError(
            f"{folder} holds {further[0]}, which is not one of the {len(scenes)} images to be written: delete the "
            "folder, or choose another one."
        )
    for index, scene in enumerate(scenes):
        save_webp(folder / f"{index:02d}.webp", render(scene).image)


def write(name: str, into: Path, count: int = SHIPPED) -> None:
    """Write the varied set of concept `name` into `into`/name, and the home set of a toy into `into`/home/name: 128 x
    128 images 00.webp, 01.webp, ..., for toys also short.txt and long.txt with one caption a line, and finally
    concept.json. Each file is replaced as a whole, because another command may be reading it."""
    concept = EVERY[name]
    _write_set(name, into / name, concept.scenes(count))
    if concept.home is not None:
        _write_set(name, into / HOME / name, concept.home(count))


def write_unseen(name: str, into: Path) -> None:
    """Write the next `MOST` images of the varied set of a toy into `into`/unseen/name. No word is learned from them."""
    _write_set(name, into / UNSEEN / name, EVERY[name].scenes(2 * MOST)[MOST:])


def _write_set(name: str, folder: Path, scenes: Sequence[Scene]) -> None:
    save_pictures(scenes, folder)
    if "color" in EVERY[name].labels:
        for length in CAPTIONS:
            lines = "\n".join(captions(scenes[0].toy, length))
            write_whole(folder / f"{length}.txt", f"{lines}\n".encode())
    text = json.dumps(ground_truth(name, scenes))
    write_whole(folder / TRUTH, f"{text}\n".encode())
