"""Rasterize ellipsoids and cones in closed form, under a weak-perspective camera.

In its own frame, each solid is the surface x^2 + z^2 = a + b y + g y^2. An ellipsoid has (a, b, g) = (1, 0, -1). For a
cone, the right side is the square of its linear radius, and flat ends cut it at y = -1 and y = 1. Along a line of
sight, the equation is quadratic in depth, and its coefficients are polynomials in the screen position. So each solid
takes only a few array operations on its bounding box.
"""

from dataclasses import dataclass

import numpy as np

from .parts import Part

FAR = -1e9


def rotations(turns: np.ndarray) -> np.ndarray:
    """Return the rotations Rz @ Ry @ Rx, [n, 3, 3], by Euler angles (x, y, z) in radians, [n, 3]."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(turns).T, np.sin(turns).T
    rows = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )
    return np.array(rows).transpose(2, 0, 1)


@dataclass(frozen=True)
class Solids:
    """n solids in view space, where x points right, y up and z towards the viewer. The columns of `axes` [n, 3, 3] are
    the half axes; `centres` is [n, 3]; `profiles` [n, 3] holds (a, b, g); `tapers` [n] holds the ratio of top to bottom
    radius, or nan for an ellipsoid."""

    axes: np.ndarray
    centres: np.ndarray
    profiles: np.ndarray
    tapers: np.ndarray

    @property
    def inverses(self) -> np.ndarray:
        """The linear maps [n, 3, 3] from view space to the frame of each solid."""
        return self.axes.transpose(0, 2, 1) / np.square(self.axes).sum(1)[:, :, None]


def place_solids(parts: list[Part], view: np.ndarray, offset: np.ndarray) -> Solids:
    """Return `parts` as solids in view space: the points p of figure space move to view @ p + offset. `view` [3, 3] is
    a rotation times a scale, `offset` is [3]."""
    rows = [(*p.centre, *p.radii, *p.turn, np.nan if p.taper is None else p.taper) for p in parts]
    table = np.array(rows, np.float64)
    axes = view @ rotations(table[:, 6:9]) * table[:, None, 3:6]
    taper = table[:, 9]
    mean, slope = (1 + taper) / 2, (taper - 1) / 2
    cones = np.stack([mean**2, 2 * mean * slope, slope**2], 1)
    profiles = np.where(np.isnan(taper)[:, None], (1.0, 0.0, -1.0), cones)
    return Solids(axes, table[:, :3] @ view.T + offset, profiles, taper)


def join_solids(groups: list[Solids]) -> Solids:
    """Concatenate groups of solids."""
    fields = ("axes", "centres", "profiles", "tapers")
    return Solids(*(np.concatenate([getattr(g, f) for g in groups]) for f in fields))


def rasterize(s: Solids, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the depth buffer (float32) and the surface buffer (int16), both [len(y), len(x)]. `x` holds the ascending
    view coordinates of the columns, `y` the descending ones of the rows. Surface i is the side of solid i, surface
    n + i its flat end, and -1 means that there is no solid."""
    n = len(s.centres)
    depth, surface = np.full((len(y), len(x)), FAR, np.float32), np.full((len(y), len(x)), -1, np.int16)
    middles, spreads, ends = sight_lines(s)
    x32, y32 = x.astype(np.float32), y.astype(np.float32)[:, None]
    for i, (top, bottom, left, right) in enumerate(bounding_boxes(s, x, y)):
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
            front, is_end, exists = cut_ends(middle, spread, u, v, *ends[i])
            hit &= exists
            number = np.where(is_end, n + i, i).astype(np.int16)
        zone = depth[top:bottom, left:right]
        hit &= front > zone
        np.copyto(zone, front, where=hit)
        np.copyto(surface[top:bottom, left:right], number, where=hit)
    return depth, surface


def sight_lines(s: Solids) -> tuple[list, list, list]:
    """Return m [3], Q [3, 3] and the last arguments of `cut_ends` (None for ellipsoids) of each solid. The line
    of sight at (x, y) meets the quadric of the solid at depths m . (x, y, 1) +- sqrt((x, y, 1) Q (x, y, 1))."""
    inverse = s.inverses
    a, b, g = s.profiles.T
    metric = np.stack([np.ones_like(g), -g, np.ones_like(g)], 1)
    sight = inverse[:, :, 2]
    frame = inverse.copy()  # own coordinates = frame @ (x, y, 1) + depth * sight
    frame[:, :, 2] = -np.einsum("nij,nj->ni", inverse, s.centres)
    quadratic = (metric * sight * sight).sum(1)
    quadratic = np.where(np.abs(quadratic) < 1e-9, 1e-9, quadratic)  # parallel to a side
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


def cut_ends(
    middle: np.ndarray,
    spread: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    waist: list[float],
    half: float,
    steep: bool,
    widens: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut a cone at its flat ends. Return the depth of its front, whether this is an end (bool), and whether the line
    of sight hits the cone at all (bool).

    The lines of sight at (u, v) cross the quadric at depths `middle` +- `spread`. They cross y = 0 at depth `waist` @
    (u, v, 1), and y = -1 and y = 1 at `half` before and behind it. If the cone is `steep`, the lines lie within its
    opening and cross the side only once. The crossing is at the back if the cone `widens` towards the viewer.
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


def bounding_boxes(s: Solids, x: np.ndarray, y: np.ndarray) -> list[list[int]]:
    """Return (top, bottom, left, right) of each solid's bounding box, as indices into rows `y` and columns `x`. Bottom
    and right are exclusive."""
    ellipsoid = np.isnan(s.tapers)[:, None]
    widest = np.where(ellipsoid, 1.0, np.fmax(1.0, s.tapers[:, None]))
    ring, axis = np.hypot(s.axes[:, :2, 0], s.axes[:, :2, 2]) * widest, np.abs(s.axes[:, :2, 1])
    reach = np.where(ellipsoid, np.hypot(ring, axis), ring + axis)
    low, high = s.centres[:, :2] - reach, s.centres[:, :2] + reach
    columns = np.searchsorted(x, low[:, 0]), np.searchsorted(x, high[:, 0])
    rows = np.searchsorted(-y, -high[:, 1]), np.searchsorted(-y, -low[:, 1])
    return np.stack([*rows, *columns], 1).tolist()


def normal_maps(s: Solids) -> np.ndarray:
    """Return a matrix [3, 4] for each surface, [2 n, 3, 4]: first all sides, then all ends. matrix @ (p, 1) is the
    normal at view position p, not normalized."""
    inverse = s.inverses
    _, b, g = s.profiles.T
    metric = np.stack([np.ones_like(g), -g, np.ones_like(g)], 1)
    gradient = np.einsum("nki,nk,nkj->nij", inverse, metric, inverse)
    shift = -np.einsum("nij,nj->ni", gradient, s.centres) - b[:, None] / 2 * inverse[:, 1, :]
    sides = np.concatenate([gradient, shift[:, :, None]], 2)
    ends = np.zeros_like(sides)
    ends[:, :, 3] = inverse[:, 1, :] * np.sign(inverse[:, 1, 2:])
    return np.concatenate([sides, ends])


def shadow_mask(s: Solids, light: np.ndarray, pitch: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return whether a solid lies between the lamp in direction `light` [3] and the point of the ground that is visible
    at each view position, bool [len(y), len(x)]. A cone casts the shadow of the ellipsoid inside it."""
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
