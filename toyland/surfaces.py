"""Ellipsoids and cones under a weak-perspective camera, all in closed form.

In its own frame every solid is x^2 + z^2 = a + b y + g y^2: an ellipsoid with (1, 0, -1), a cone with the square of its
linear radius, cut at y = -1 and 1. Along a line of sight this is a quadratic in depth, whose coefficients are
polynomials in the screen position, so a whole solid costs a few array operations on its bounding box.
"""

from dataclasses import dataclass

import numpy as np

from .parts import Part

FAR = -1e9


def rotations(turns: np.ndarray) -> np.ndarray:
    """Rz @ Ry @ Rx of Euler angles (x, y, z) in radians, [n, 3] to [n, 3, 3]."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(turns).T, np.sin(turns).T
    rows = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )
    return np.array(rows).transpose(2, 0, 1)


@dataclass(frozen=True)
class Solids:
    """n solids in view space (x right, y up, z to the viewer): `axes` [n, 3, 3] has the half axes as columns, `centres`
    is [n, 3], `profiles` [n, 3] holds (a, b, g), `tapers` [n] the top radius or nan for ellipsoids."""

    axes: np.ndarray
    centres: np.ndarray
    profiles: np.ndarray
    tapers: np.ndarray

    @property
    def inverses(self) -> np.ndarray:
        """View space to each solid's own frame, [n, 3, 3]."""
        return self.axes.transpose(0, 2, 1) / np.square(self.axes).sum(1)[:, :, None]


def solids(parts: list[Part], view: np.ndarray, offset: np.ndarray) -> Solids:
    """Places parts by `view` [3, 3], a rotation times a scale, and `offset` [3]."""
    rows = [(*p.centre, *p.radii, *p.turn, np.nan if p.taper is None else p.taper) for p in parts]
    table = np.array(rows, np.float64)
    axes = view @ rotations(table[:, 6:9]) * table[:, None, 3:6]
    taper = table[:, 9]
    mean, slope = (1 + taper) / 2, (taper - 1) / 2
    cones = np.stack([mean**2, 2 * mean * slope, slope**2], 1)
    profiles = np.where(np.isnan(taper)[:, None], (1.0, 0.0, -1.0), cones)
    return Solids(axes, table[:, :3] @ view.T + offset, profiles, taper)


def joined(groups: list[Solids]) -> Solids:
    fields = ("axes", "centres", "profiles", "tapers")
    return Solids(*(np.concatenate([getattr(g, f) for g in groups]) for f in fields))


def rasterize(s: Solids, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth and surface buffers, float32 and int16 [len(y), len(x)], for view coordinates `x` of the columns (rising)
    and `y` of the rows (falling). Surface i is the side of solid i, n + i its flat end, -1 nothing."""
    n = len(s.centres)
    depth, surface = np.full((len(y), len(x)), FAR, np.float32), np.full((len(y), len(x)), -1, np.int16)
    middles, spreads, ends = sight_lines(s)
    x32, y32 = x.astype(np.float32), y.astype(np.float32)[:, None]
    for i, (top, bottom, left, right) in enumerate(boxes(s, x, y)):
        if top >= bottom or left >= right:
            continue
        u, v = x32[left:right], y32[top:bottom]
        (q00, q01, q02), (_, q11, q12), (_, _, q22) = spreads[i]
        spread = (v * (q11 * v + 2 * q12) + q22) + u * (q00 * u + 2 * q02) + (2 * q01 * v) * u
        hit = spread > 0
        spread = np.sqrt(np.maximum(spread, 0, out=spread), out=spread)
        middle = (middles[i][1] * v + middles[i][2]) + middles[i][0] * u
        if ends[i] is None:
            front, number = middle + spread, i
        else:
            front, is_end, exists = cut(middle, spread, u, v, *ends[i])
            hit &= exists
            number = np.where(is_end, n + i, i).astype(np.int16)
        zone = depth[top:bottom, left:right]
        hit &= front > zone
        np.copyto(zone, front, where=hit)
        np.copyto(surface[top:bottom, left:right], number, where=hit)
    return depth, surface


def sight_lines(s: Solids) -> tuple[list, list, list]:
    """Per solid: the line of sight at (x, y) meets its quadric at depths m . (x, y, 1) +- sqrt((x, y, 1) Q (x, y, 1)).
    Returns the m, the Q, and for each cone (else None) what `cut` needs to know of its ends."""
    inverse = s.inverses
    a, b, g = s.profiles.T
    metric = np.stack([np.ones_like(g), -g, np.ones_like(g)], 1)
    sight = inverse[:, :, 2]
    frame = inverse.copy()  # own coordinates = frame @ (x, y, 1) + depth * sight
    frame[:, :, 2] = -np.einsum("nij,nj->ni", inverse, s.centres)
    quadratic = (metric * sight * sight).sum(1)
    quadratic = np.where(np.abs(quadratic) < 1e-9, 1e-9, quadratic)  # sight along a cylinder
    linear = np.einsum("nk,nkj->nj", metric * sight, frame)
    linear[:, 2] -= b * sight[:, 1] / 2
    constant = np.einsum("nki,nk,nkj->nij", frame, metric, frame)
    constant[:, 2, :] -= b[:, None] * frame[:, 1, :] / 2
    constant[:, :, 2] -= b[:, None] * frame[:, 1, :] / 2
    constant[:, 2, 2] -= a
    middle = -linear / quadratic[:, None]
    spread = middle[:, :, None] * middle[:, None, :] - constant / quadratic[:, None, None]

    rise = np.where(np.abs(sight[:, 1]) < 1e-5, 1e-5, sight[:, 1])
    waist = -frame[:, 1, :] / rise[:, None]
    facts = zip(
        waist.tolist(), np.abs(1 / rise).tolist(), (quadratic < 0).tolist(), (b * rise > 0).tolist(), strict=True
    )
    ends = [None if ellipsoid else fact for ellipsoid, fact in zip(np.isnan(s.tapers), facts, strict=True)]
    return middle.tolist(), spread.tolist(), ends


def cut(
    middle: np.ndarray,
    spread: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    waist: list[float],
    half: float,
    steep: bool,
    widens: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Front depths of a cone with flat ends, where they belong to an end, and where the cone is hit at all.

    `waist` . (u, v, 1) is the depth at which sight crosses y = 0, `half` how much further it crosses y = -1 or 1.
    `steep`: sight lies within the cone's opening, so the side is crossed once, at the back if the cone `widens` to the
    viewer.
    """
    centre = waist[0] * u + (waist[1] * v + waist[2])
    near, back, front = centre + half, centre - half, middle + spread
    if steep and widens:
        back, front = np.maximum(back, front), near
        return front, np.ones(front.shape, bool), front > back
    if steep:
        front = middle - spread
    else:
        back = np.maximum(back, middle - spread)
    is_end = near < front
    front = np.minimum(front, near)
    return front, is_end, front > back


def boxes(s: Solids, x: np.ndarray, y: np.ndarray) -> list[list[int]]:
    """Screen bounds [top, bottom, left, right) of each solid on columns `x` and rows `y`."""
    ellipsoid = np.isnan(s.tapers)[:, None]
    widest = np.where(ellipsoid, 1.0, np.fmax(1.0, s.tapers[:, None]))
    ring, axis = np.hypot(s.axes[:, :2, 0], s.axes[:, :2, 2]) * widest, np.abs(s.axes[:, :2, 1])
    reach = np.where(ellipsoid, np.hypot(ring, axis), ring + axis)
    low, high = s.centres[:, :2] - reach, s.centres[:, :2] + reach
    columns = np.searchsorted(x, low[:, 0]), np.searchsorted(x, high[:, 0])
    rows = np.searchsorted(-y, -high[:, 1]), np.searchsorted(-y, -low[:, 1])
    return np.stack([*rows, *columns], 1).tolist()


def normal_maps(s: Solids) -> np.ndarray:
    """[2 n, 3, 4]: a surface's normal at view position p is map @ (p, 1), of any length. Sides first, then ends."""
    inverse = s.inverses
    _, b, g = s.profiles.T
    metric = np.stack([np.ones_like(g), -g, np.ones_like(g)], 1)
    gradient = np.einsum("nki,nk,nkj->nij", inverse, metric, inverse)
    shift = -np.einsum("nij,nj->ni", gradient, s.centres) - b[:, None] / 2 * inverse[:, 1, :]
    sides = np.concatenate([gradient, shift[:, :, None]], 2)
    ends = np.zeros_like(sides)
    ends[:, :, 3] = inverse[:, 1, :] * np.sign(inverse[:, 1, 2:])
    return np.concatenate([sides, ends])


def shadow(s: Solids, light: np.ndarray, pitch: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which ground points, seen at view positions `x` and `y`, have a solid between them and the lamp in direction
    `light` [3]: bool [len(y), len(x)]. Cones count as the ellipsoids they hold."""
    inverse = s.inverses
    ground = np.array([[1, 0, 0], [0, 1, 0], [0, -1 / np.tan(pitch), 0]])
    frame = inverse @ ground
    frame[:, :, 2] -= np.einsum("nij,nj->ni", inverse, s.centres)
    ray = inverse @ light
    along = np.einsum("nk,nkj->nj", ray, frame)
    form = np.einsum("nki,nkj->nij", frame, frame)
    form[:, 2, 2] -= 1
    root = along[:, :, None] * along[:, None, :] - np.square(ray).sum(1)[:, None, None] * form
    coefficients = np.stack(
        [root[:, 0, 0], 2 * root[:, 0, 1], root[:, 1, 1], 2 * root[:, 0, 2], 2 * root[:, 1, 2], root[:, 2, 2]], 1
    ).astype(np.float32)
    gx, gy = (c.ravel().astype(np.float32) for c in np.meshgrid(x, y))
    powers = np.stack([gx * gx, gx * gy, gy * gy, gx, gy, np.ones_like(gx)])
    return ((coefficients @ powers).max(0) > 0).reshape(len(y), len(x))
