"""Light and paint: the ground shadow, and the deferred pass that shades every covered pixel once."""

from dataclasses import dataclass

import cv2
import numpy as np

from .attributes import Toy
from .painting import Decal, pattern
from .parts import Part
from .surfaces import FAR, Solids, normal_maps, shadow


@dataclass(frozen=True)
class Lighting:
    """How a background lights figures: strengths, a colour factor and how dark the ground shadow is."""

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
    """One figure in a picture: `colors` [parts, 3] are its paints, and view @ p + offset takes figure space to view
    space. `grain` as in `parts.Figure`."""

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
    dark: float,
) -> None:
    """Darkens `canvas` (uint8 [256, 256, 3], in place) by up to `dark` where the ground, which begins at row `first`,
    lies in shadow."""
    step = 4
    first = max(0, first // step * step)
    if first >= len(y):
        return
    shade = shadow(stage, lamp, pitch, x[step // 2 :: step], y[first + step // 2 :: step])
    columns = np.flatnonzero(shade.any(0))
    if not len(columns):
        return
    left, right = max(0, columns[0] - 3), columns[-1] + 4
    soft = cv2.GaussianBlur(shade[:, left:right].astype(np.float32), (0, 0), 1.0)
    soft[0] = 0
    ground = canvas[first:, left * step : right * step]
    soft = cv2.resize(soft, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
    ground[:] = ground * (1 - dark * soft)[:, :, None]


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
    """Paints the covered pixels of `canvas`, uint8 [256, 256, 3], in place. `depth`, `surface`: see `rasterize`;
    `x`, `y`: view coordinates of columns and rows; `lamp`: unit vector towards the light. Returns the row in `palette`
    of every pixel, -1 where nothing stands, int16 [256, 256]."""
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
    for _ in range(5):  # to the 32nd power
        shine *= shine
    rim = np.square(1 - nz)
    strength = lighting.ambient * (0.86 + 0.2 * ny) + lighting.diffuse * wrapped
    strength *= (1 - 0.3 * np.minimum(rim, 1)) * creases(depth)[row // 2, column // 2]
    shine = 80 * shine + 22 * rim

    paint = paint_of(np.where(surf < count, surf, surf - count), point, cast)
    shaded = np.empty((len(covered), 3), np.uint8)
    for channel, color in enumerate((palette(cast) * lighting.tint).astype(np.float32).T):
        shaded[:, channel] = np.minimum(color[paint] * strength + shine, 255)
    canvas.reshape(-1, 3)[covered] = shaded
    paints[covered] = paint
    return paints.reshape(side, side)


def unit_normals(stage: Solids, surf: np.ndarray, point: np.ndarray) -> np.ndarray:
    """[3, N] normals of surfaces `surf` [N] at `point` [3, N]."""
    maps = np.ascontiguousarray(normal_maps(stage).reshape(-1, 12).astype(np.float32).T)
    normal = np.empty_like(point)
    for k in range(3):
        a, b, c, d = (m[surf] for m in maps[4 * k : 4 * k + 4])
        normal[k] = a * point[0] + b * point[1] + c * point[2] + d
    normal /= np.sqrt(np.square(normal).sum(0)) + 1e-8
    return normal


def creases(depth: np.ndarray) -> np.ndarray:
    """Brightness factors at half size that darken what lies deeper than its neighbourhood: where parts meet."""
    depth = depth[::2, ::2]
    floor = np.where(depth > FAR, depth, np.min(depth, initial=0, where=depth > FAR))
    return 1 - np.clip((cv2.blur(floor, (7, 7)) - floor) * 1.6, 0, 0.3)


def paint_of(solid: np.ndarray, point: np.ndarray, cast: list[Actor]) -> np.ndarray:
    """Row in `palette` for each pixel, [N]; `solid` [N], `point` [3, N] in view space."""
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
        chosen = {on: np.flatnonzero(np.array([q.name in on for q in actor.parts])[part])
                  for on in {decal.on for decal in actor.decals}}  # fmt: skip
        spots = {on: p[:, where] for on, where in chosen.items()}
        for number, decal in enumerate(actor.decals, row + 1):
            paint[own[chosen[decal.on][decal.covers(spots[decal.on])]]] = number
        first, row = last, row + 1 + len(actor.decals)
    return paint


def palette(cast: list[Actor]) -> np.ndarray:
    """RGB of all parts, then of each figure's second colour and decals, float32 [n, 3]."""
    rows = [actor.colors for actor in cast]
    rows += [[actor.toy.color2.rgb, *(decal.rgb for decal in actor.decals)] for actor in cast]
    return np.concatenate(rows).astype(np.float32)
