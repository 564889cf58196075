"""Numbered scenes. A scene depends only on the arguments of its function, so any process can render any range."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np

from .attributes import BACKGROUNDS, HAIRS, SKINS, Scene, Style, Toy
from .names import unnamed_toy
from .render import render
from .sampling import sample_scene

FACELESS = 0.25  # the share of faceless toys in `draw_face`


def draw_scene(seed: int, held_out: bool, index: int) -> Scene:
    """Sample scene `index` of training, or of the held-out combinations."""
    return sample_scene(np.random.default_rng([seed, index]), held_out=held_out)


def draw_face(seed: int, held_out: bool, index: int) -> Scene:
    """Sample scene `index` of `draw_scene`. In a quarter of the scenes, the main toy is faceless."""
    scene = draw_scene(seed, held_out, index)
    faceless = bool(np.random.default_rng([seed, index, 1]).random() < FACELESS)
    return replace(scene, toy=replace(scene.toy, faceless=faceless))


def draw_doctor(seed: int, held_out: bool, index: int) -> Scene:
    """Sample a photo of an unnamed doctor, with skin and hair drawn uniformly."""
    rng = np.random.default_rng([seed, index])
    scene = sample_scene(rng, kind="doctor", style=Style(), named=0.0, held_out=held_out)
    look = {"skin": str(rng.choice(list(SKINS))), "hair": str(rng.choice(list(HAIRS)))}
    return replace(scene, toy=replace(scene.toy, **look))


@cache
def _unnamed_toy(seed: int, kind: str, number: int) -> Toy:
    return unnamed_toy(kind, seed, number)


def draw_unnamed_toy(seed: int, kinds: tuple[str, ...], toys: int, index: int) -> Scene:
    """Sample a photo, in any place, of unnamed toy number `index` % `toys`. The toys have the classes `kinds` in
    turn."""
    number, rng = index % toys, np.random.default_rng([seed, index])
    toy = _unnamed_toy(seed, kinds[number % len(kinds)], number)
    return sample_scene(rng, toy=toy, background=str(rng.choice(list(BACKGROUNDS))), style=Style())


@dataclass(frozen=True)
class Rendered:
    """n rendered scenes: `images` uint8 RGB [n, 128, 128, 3], and `masks` of figure and face, uint8 [n, 2, 128, 16]
    with packed bits."""

    images: np.ndarray
    masks: np.ndarray


def render_range(draw: Callable[[int], Scene], start: int, stop: int) -> Rendered:
    """Render the scenes `draw(start)` to `draw(stop - 1)`. The result is the same in every process. From then on,
    OpenCV has one thread in this process: several processes already use all cores."""
    cv2.setNumThreads(1)
    pictures = [render(draw(index)) for index in range(start, stop)]
    masks = np.packbits([(picture.mask, picture.face) for picture in pictures], axis=-1)
    return Rendered(np.stack([picture.image for picture in pictures]), masks)
