"""Light and paint: draw the shadow on the ground, then shade each covered pixel once (deferred shading)."""

from dataclasses import dataclass

import cv2
import numpy as np

from .attributes import Toy
from .painting import Decal, pattern
from .parts import Part
from .surfaces import FAR, Solids, normal_maps, shadow_mask


@dataclass(frozen=True)
class Lighting:
    """The light of a background: strengths of ambient and diffuse light, an RGB factor `tint`, and the strength of the
    ground `shadow` in [0, 1]."""

    ambient: float = 0.57
    diffuse: float = 0.58
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shadow: float = 0.42


DAYLIGHT = Lighting()
LIGHTING = {
    "moon": Lighting(ambient=0.48, diffuse=0.68, shadow=0.6),
    "city": Lighting(ambient=0.56, diffuse=0.52, tint=(0.94, 0.93, 1.04), shadow=0.5),
    "forest": Lighting(ambient=0.55, diffuse=0.55, tint=(0.98, 1.01, 0.95)),
    "underwater": Lighting(ambient=0.55, diffuse=0.52, tint=(0.88, 0.98, 1.05), shadow=0.3),
    "desert": Lighting(tint=(1.03, 0.99, 0.94)),
    "table": Lighting(tint=(1.02, 1.0, 0.97)),
    "studio": Lighting(shadow=0.32),
}


@dataclass(frozen=True)
class Actor:
    """A figure in a scene. `colors` float32 [parts, 3] holds the RGB colour of each part. view @ p + offset maps a
    point p of figure space to view space. `grain` as in `parts.Figure`."""

    toy: Toy
    parts: list[Part]
    colors: np.ndarray
    decals: list[Decal]
    grain: str
    view: np.ndarray
    offset: np.ndarray


def cast_shadow(
    canvas: np.ndarray,
    stage: Solids,
    lamp: np.ndarray,
    pitch: float,
    x: np.ndarray,
    y: np.ndarray,
    first: int,
    darkness: float,
) -> None:
    """Darken the shadowed ground of `canvas`, uint8 [256, 256, 3], in place, by a fraction of up to `darkness`. The
    ground begins at row `first`. `lamp` is the direction [3] of the light; `x` and `y` are the view coordinates of
    columns and rows; `pitch` is in radians."""
    step = 4
    first = max(0, first // step * step)
    if first >= len(y):
        return
    shade = shadow_mask(stage, lamp, pitch, x[step // 2 :: step], y[first + step // 2 :: step])
    columns = np.flatnonzero(shade.any(0))
    if not len(columns):
        return
    left, right = max(0, columns[0] - 3), columns[-1] + 4
    soft = cv2.GaussianBlur(shade[:, left:right].astype(np.float32), (0, 0), 1.0)
    soft[0] = 0  # the first block can begin above the horizon, which takes no shadow
    ground = canvas[first:, left * step : right * step]
    soft = cv2.resize(soft, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
    ground[:] = ground * (1 - darkness * soft)[:, :, None]


def shade_figures(
    canvas: np.ndarray,
    depth: np.ndarray,
    surface: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    stage: Solids,
    cast: list[Actor],
    lamp: np.ndarray,
    lighting: Lighting,
) -> np.ndarray:
    """Shade the covered pixels of `canvas`, uint8 [256, 256, 3], in place. `depth` and `surface` come from `rasterize`;
    `x` and `y` are the view coordinates of columns and rows; `lamp` is a unit vector towards the light. Return the row
    in `palette` of each pixel, int16 [256, 256], -1 where there is no figure."""
    side, count = len(x), len(stage.centres)
    paints = np.full(side * side, -1, np.int16)
    covered = np.flatnonzero(surface.ravel() >= 0)
    if not len(covered):
        return paints.reshape(side, side)
    row, column = covered // side, covered % side
    surf = surface.ravel()[covered].astype(np.intp)
    point = np.stack([x.astype(np.float32)[column], y.astype(np.float32)[row], depth.ravel()[covered]])
    nx, ny, nz = unit_normals(stage, surf, point)

    lamp = lamp.astype(np.float32)
    half = lamp + np.array((0, 0, 1), np.float32)
    half /= np.linalg.norm(half)
    wrapped = np.maximum((nx * lamp[0] + ny * lamp[1] + nz * lamp[2] + 0.25) * 0.8, 0)
    shine = np.maximum(nx * half[0] + ny * half[1] + nz * half[2], 0)
    for _ in range(5):  # raise to the power of 32
        shine *= shine
    rim = np.square(1 - nz)
    strength = lighting.ambient * (0.86 + 0.2 * ny) + lighting.diffuse * wrapped
    strength *= (1 - 0.3 * np.minimum(rim, 1)) * creases(depth)[row // 2, column // 2]
    shine = 80 * shine + 22 * rim

    paint = paint_rows(np.where(surf < count, surf, surf - count), point, cast)
    shaded = np.empty((len(covered), 3), np.uint8)
    for channel, color in enumerate((palette(cast) * lighting.tint).astype(np.float32).T):
        shaded[:, channel] = np.minimum(color[paint] * strength + shine, 255)
    canvas.reshape(-1, 3)[covered] = shaded
    paints[covered] = paint
    return paints.reshape(side, side)


def unit_normals(stage: Solids, surf: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return the unit normals [3, N] of the surfaces `surf` [N] at the view positions `point` [3, N]."""
    maps = np.ascontiguousarray(normal_maps(stage).reshape(-1, 12).astype(np.float32).T)
    normal = np.empty_like(point)
    for k in range(3):
        a, b, c, d = (m[surf] for m in maps[4 * k : 4 * k + 4])
        normal[k] = a * point[0] + b * point[1] + c * point[2] + d
    normal /= np.sqrt(np.square(normal).sum(0)) + 1e-8
    return normal


def creases(depth: np.ndarray) -> np.ndarray:
    """Return brightness factors at half the size of `depth`. They darken pixels that are deeper than their
    neighbourhood, as in the creases where parts meet."""
    depth = depth[::2, ::2]
    floor = np.where(depth > FAR, depth, np.min(depth, initial=0, where=depth > FAR))
    return 1 - np.clip((cv2.blur(floor, (7, 7)) - floor) * 1.6, 0, 0.3)


def paint_rows(solid: np.ndarray, point: np.ndarray, cast: list[Actor]) -> np.ndarray:
    """Return the row in `palette` of each pixel, [N]. `solid` [N] is the number of its part, `point` [3, N] its view
    position."""
    paint, first, row = solid.copy(), 0, sum(len(a.parts) for a in cast)
    for actor in cast:
        last = first + len(actor.parts)
        own = np.flatnonzero((solid >= first) & (solid < last))
        part = solid[own] - first
        place = np.linalg.inv(actor.view) @ np.vstack([np.eye(3), -actor.offset]).T
        p = place[:, :3].astype(np.float32) @ point[:, own] + place[:, 3:].astype(np.float32)
        if actor.toy.pattern != "plain":
            main = np.flatnonzero(np.array([q.patterned for q in actor.parts])[part])
            hit = pattern(actor.toy.pattern, p[:, main], actor.grain, actor.toy.phase, actor.toy.pitch)
            paint[own[main[hit]]] = row
        chosen = {names: np.flatnonzero(np.array([q.name in names for q in actor.parts])[part])
                  for names in {decal.part_names for decal in actor.decals}}  # fmt: skip
        spots = {names: p[:, where] for names, where in chosen.items()}
        for number, decal in enumerate(actor.decals, row + 1):
            paint[own[chosen[decal.part_names][decal.covers(spots[decal.part_names])]]] = number
        first, row = last, row + 1 + len(actor.decals)
    return paint


def palette(cast: list[Actor]) -> np.ndarray:
    """Return the RGB colours, float32 [n, 3], of all parts, followed by the second colour and the decals of each
    figure."""
    rows = [actor.colors for actor in cast]
    rows += [[actor.toy.color2.rgb, *(decal.rgb for decal in actor.decals)] for actor in cast]
    return np.concatenate(rows).astype(np.float32)
