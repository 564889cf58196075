"""Make the mistakes of captions. One caption in twenty is wrong about one attribute, as human captions sometimes
are."""

from dataclasses import replace

import numpy as np

from .attributes import BACKGROUNDS, CLASSES, COLORS, COMPANIONS, PATTERNS, Color, Companion, Scene
from .names import NAME_OF
from .toys import pick


def make_mistake(scene: Scene, rng: np.random.Generator) -> tuple[Scene, str]:
    """Return `scene` with one attribute changed, and the word or phrase for the wrong value. A named toy keeps its own
    attributes; only its place or its companion can be wrong."""
    toy, beside = scene.toy, scene.companion
    slips = ["place", "companion"] if toy in NAME_OF else ["place", "companion", "color", "pattern", "class"]
    slip = pick(rng, slips)
    if slip == "companion":
        other = pick(rng, [k for k in COMPANIONS if k not in (toy.kind, beside and beside.toy.kind)])
        return replace(scene, companion=Companion(replace(toy, kind=other), 1, 0.0, 0.0)), other
    if slip == "place":
        place = pick(rng, [name for name in BACKGROUNDS if name != scene.background])
        return replace(scene, background=place), BACKGROUNDS[place]
    if slip == "color":
        used = {color.name for color in scene_colors(scene)}
        used |= {toy.skin, toy.hair} if toy.kind == "doctor" else set()  # a true "brown skin" is no mistake
        name = pick(rng, [name for name in COLORS if name not in used])
        return replace(scene, toy=replace(toy, color=Color(name, "", COLORS[name]))), name
    values = PATTERNS if slip == "pattern" else CLASSES
    true_values = {toy.kind, toy.pattern, beside and beside.toy.kind}
    wrong = pick(rng, [value for value in values if value not in true_values])
    return replace(scene, toy=replace(toy, **{"kind" if slip == "class" else slip: wrong})), wrong


def scene_colors(scene: Scene) -> list[Color]:
    """Return all colours that a caption of the scene can mention."""
    colors = [scene.toy.color, scene.toy.color2]
    if scene.clothing:
        colors.append(scene.clothing.color)
    return colors + ([scene.companion.toy.color] if scene.companion else [])
