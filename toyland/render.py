"""Render a scene: rasterize closed-form solids into a depth buffer, shade each pixel once, then apply a style
filter."""

from dataclasses import dataclass
from math import cos, pi, sin

import cv2
import numpy as np

from .attributes import Scene
from .backgrounds import backdrop
from .figures import clothes, decals, figure, paints
from .parts import Part
from .shading import DAYLIGHT, LIGHTING, Actor, cast_shadow, shade_figures
from .styles import apply_style
from .surfaces import join_solids, place_solids, rasterize

SIDE = 128
FINE = 256  # images are drawn at twice their size and averaged down
FACE_PARTS = frozenset(("left eye", "right eye", "eye ring", "muzzle", "snout", "nose", "beak", "bill"))
COMPANION_SCALE, COMPANION_DISTANCE = 0.5, 0.64


@dataclass(frozen=True)
class Picture:
    """A rendered scene: `image` uint8 RGB [128, 128, 3]; `mask`, bool [128, 128], of the main figure and its clothing;
    `face`, bool [128, 128], of its facial features and three pixels around them."""

    image: np.ndarray
    mask: np.ndarray
    face: np.ndarray


def render(scene: Scene) -> Picture:
    """Render a scene. Equal scenes give equal pixels. Raises ValueError if the camera does not look down at the
    ground."""
    if not 0 < scene.camera.pitch < pi / 2:
        raise ValueError(
            f"camera pitch {scene.camera.pitch}: choose a value between 0 and pi / 2, so that it looks down"
        )
    rng = np.random.default_rng(scene.seed)
    canvas, horizon = backdrop(scene.background, rng)
    camera, lighting = scene.camera, LIGHTING.get(scene.background, DAYLIGHT)
    tilt = tilt_matrix(camera.pitch)
    cast = actors(scene, tilt)
    stage = join_solids([place_solids(a.parts, a.view, a.offset) for a in cast])
    lamp = tilt @ np.array([0.7 * scene.light, 0.95, 0.6])
    lamp /= np.linalg.norm(lamp)

    pixels = np.arange(FINE) + 0.5
    unit = camera.scale * FINE
    x, y = (pixels - camera.x * FINE) / unit, (camera.y * FINE - pixels) / unit
    cast_shadow(canvas, stage, lamp, camera.pitch, x, y, horizon, lighting.shadow)
    depth, surface = rasterize(stage, x, y)
    painted = shade_figures(canvas, depth, surface, x, y, stage, cast, lamp, lighting)

    small = adjust_exposure(cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA), scene.view)
    groups, is_main = part_groups(cast)
    mask = cv2.resize(is_main[surface], (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 127
    image = apply_style(small, borders(groups[surface[::2, ::2]]), scene.style, rng)
    return Picture(image, mask, face_mask(feature_table(cast)[painted[::2, ::2]]) & mask)


def tilt_matrix(pitch: float) -> np.ndarray:
    """Return the rotation [3, 3] from world to view space of a camera that looks down by `pitch` radians."""
    return np.array([[1, 0, 0], [0, cos(pitch), -sin(pitch)], [0, sin(pitch), cos(pitch)]])


def yaw_matrix(yaw: float) -> np.ndarray:
    """Return the rotation [3, 3] from figure to world space. A figure with positive `yaw` (radians) faces right."""
    return np.array([[cos(yaw), 0, sin(yaw)], [0, 1, 0], [-sin(yaw), 0, cos(yaw)]])


def actors(scene: Scene, tilt: np.ndarray) -> list[Actor]:
    """Return the main figure with its clothing, then the companion if there is one. `tilt` is the rotation [3, 3] from
    world to view space."""
    shape, colors = figure(scene.toy), paints(scene.toy)
    parts = list(shape.parts)
    if scene.clothing is not None:
        parts += clothes(scene.clothing, shape)
        rgb = scene.clothing.color.rgb
        colors |= {"clothing": rgb, "trim": tuple(0.72 * c for c in rgb)}
    view = tilt @ yaw_matrix(scene.camera.yaw)
    cast = [
        Actor(scene.toy, parts, part_colors(parts, colors), decals(scene.toy, shape), shape.grain, view, np.zeros(3))
    ]
    if scene.companion is not None:
        other = scene.companion
        shape = figure(other.toy)
        parts, colors = list(shape.parts), paints(other.toy)
        view = COMPANION_SCALE * tilt @ yaw_matrix(other.yaw)
        place = tilt @ np.array([other.side * COMPANION_DISTANCE, 0.0, other.depth])
        cast.append(
            Actor(other.toy, parts, part_colors(parts, colors), decals(other.toy, shape), shape.grain, view, place)
        )
    return cast


def part_colors(parts: list[Part], colors: dict) -> np.ndarray:
    """Return the RGB colour of each part, float32 [parts, 3]."""
    return np.array([colors[p.paint] for p in parts], np.float32)


def adjust_exposure(image: np.ndarray, view: str) -> np.ndarray:
    """Return uint8 `image`, darker or brighter as `view` requires. The other views do not change it."""
    if view == "dark":
        return image // 2
    if view == "bright":
        return (255 - (255 - image.astype(np.float32)) * 0.6).astype(np.uint8)
    return image


def part_groups(cast: list[Actor]) -> tuple[np.ndarray, np.ndarray]:
    """Return two tables that are indexed by surface number; index -1, where there is no figure, is their last entry.
    The first holds the part group, and outlines separate these groups. The second, uint8, holds 255 for the main figure
    and 0 otherwise."""
    names = [(number, p.name) for number, actor in enumerate(cast) for p in actor.parts]
    order = {name: k for k, name in enumerate(dict.fromkeys(names))}
    groups = [order[name] for name in names]
    is_main = [255 * (number == 0) for number, _ in names]
    return np.array([*groups, *groups, -1]), np.array([*is_main, *is_main, 0], np.uint8)


def feature_table(cast: list[Actor]) -> np.ndarray:
    """Return a uint8 table that is indexed by row of `shading.palette`; index -1, no figure, is its last entry. It
    holds 255 for the facial features of the main figure and 0 otherwise."""
    first, others = cast[0], sum(len(actor.parts) for actor in cast[1:])
    rows = [p.name in FACE_PARTS for p in first.parts] + [False] * (others + 1)
    rows += [decal.in_face for decal in first.decals]
    rows += [False] * (1 + sum(1 + len(actor.decals) for actor in cast[1:]))
    return np.array(rows, np.uint8) * 255


def face_mask(features: np.ndarray) -> np.ndarray:
    """Return the mask of all pixels at most three pixels from `features` (uint8 [128, 128]), bool [128, 128]."""
    return cv2.dilate(features, np.ones((7, 7), np.uint8)) > 0


def borders(groups: np.ndarray) -> np.ndarray:
    """Return the mask of pixels whose group differs from the one of their left or upper neighbour, bool, same shape."""
    edge = np.zeros(groups.shape, bool)
    edge[:, 1:] = groups[:, 1:] != groups[:, :-1]
    edge[1:] |= groups[1:] != groups[:-1]
    return edge
