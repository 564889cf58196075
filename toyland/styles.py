"""The seven styles as image filters. Each painter has one setting of a filter: palette (from cool to warm and rich),
stroke (from fine to coarse) and grain (from smooth to rough). The toy must stay recognisable at every setting."""

from functools import cache

import cv2
import numpy as np

from toyland.attributes import STYLES, Style

SIZE = 128  # side of a picture in pixels
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def apply_style(image: np.ndarray, outline: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    """Return the uint8 RGB image [128, 128, 3], painted in `style`. `outline`, bool [128, 128], marks the borders of
    parts and figures; `rng` draws the grain. Raises ValueError if a shape is wrong or the style is unknown."""
    if image.shape != (SIZE, SIZE, 3) or outline.shape != (SIZE, SIZE):
        raise ValueError(f"image {image.shape} and outline {outline.shape} must have {SIZE} x {SIZE} pixels")
    if style.name not in STYLES:
        raise ValueError(f"unknown style {style.name!r}: choose one of {', '.join(STYLES)}")
    if style.name == "photo":
        return image.copy()
    painted = FILTERS[style.name](image.astype(np.float32), outline.astype(np.float32), style, rng)
    # The softness of a camera lens. It also removes single-pixel noise, which the autoencoder could not reproduce.
    return np.clip(cv2.GaussianBlur(painted, (0, 0), 0.6), 0, 255).astype(np.uint8)


def tint(colors: np.ndarray, palette: float) -> np.ndarray:
    """Shift float32 RGB colours [H, W, 3] towards cool and muted (`palette` = -1) or warm and rich (`palette` = 1)."""
    gains = np.array([1 + 0.12 * palette, 1 - 0.01 * palette, 1 - 0.24 * palette], np.float32)
    saturation = 1 + 0.22 * palette
    mix = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * LUMA
    return cv2.transform(colors, gains[:, None] * mix)


def interpolate(low: float, high: float, setting: float) -> float:
    """Map a setting in [-1, 1] linearly to the range from `low` to `high`."""
    return low + (high - low) * (setting + 1) / 2


def noise(rng: np.random.Generator, cell: float, channels: int = 1) -> np.ndarray:
    """Return smooth noise with a variance of 0.7 to 0.9, float32 [128, 128] or [128, 128, channels]. Its features are
    about `cell` pixels wide."""
    side = int(SIZE / cell) + 2
    grid = rng.standard_normal((side, side, channels), np.float32)
    return cv2.resize(grid, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


@cache
def pixel_grid() -> tuple[np.ndarray, np.ndarray]:
    """Return the x and the y coordinate of each pixel, float32 [128, 128] each."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    return x, y


def sample_image(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return `image`, sampled with bilinear interpolation at the positions `x` and `y`, float32 [128, 128] each."""
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def kuwahara(image: np.ndarray, size: int) -> np.ndarray:
    """Apply a Kuwahara filter: each pixel becomes the mean of the square with the least variance, of the four squares
    of `size` x `size` pixels that have it in a corner. This smooths textures and keeps borders sharp."""
    gray = cv2.transform(image, LUMA[None])
    means, spreads = [], []
    for anchor in ((0, 0), (0, size - 1), (size - 1, 0), (size - 1, size - 1)):
        mean_gray = cv2.blur(gray, (size, size), anchor=anchor)
        spreads.append(cv2.blur(gray * gray, (size, size), anchor=anchor) - mean_gray * mean_gray)
        means.append(cv2.blur(image, (size, size), anchor=anchor))
    calmest = np.argmin(spreads, 0)
    flat = means[0]
    for number in (1, 2, 3):
        cv2.copyTo(means[number], (calmest == number).astype(np.uint8), flat)
    return flat


def brush_direction(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the direction of the brush at each pixel, the x and y of a unit vector, float32 [128, 128] each. It
    follows the edges of the image; in empty areas it varies slowly at random."""
    gray = cv2.transform(image, LUMA[None])
    dx, dy = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    drift = 0.5 + 0.8 * noise(rng, 48)
    # Angles are doubled because opposite directions are the same stroke.
    real = cv2.GaussianBlur(dx * dx - dy * dy, (0, 0), 3) + 600 * np.cos(2 * drift)
    imaginary = cv2.GaussianBlur(2 * dx * dy, (0, 0), 3) + 600 * np.sin(2 * drift)
    angle = 0.5 * np.arctan2(imaginary, real) + np.float32(np.pi / 2)
    return np.cos(angle), np.sin(angle)


def oil(image: np.ndarray, outline: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    length = interpolate(1.2, 3.2, style.stroke)
    along_x, along_y = brush_direction(image, rng)
    x, y = pixel_grid()
    flat = kuwahara(image, (3, 4, 5)[round(style.stroke) + 1])
    bristles = noise(rng, interpolate(1.3, 2.6, style.stroke), 3) * np.array([1, 0.45, 0.45], np.float32)
    paint, relief = np.zeros_like(flat), np.zeros_like(bristles)
    steps = (-2, -1, 0, 1, 2)
    for step in steps:
        to_x, to_y = x + step * length * along_x, y + step * length * along_y
        if abs(step) < 2:
            paint += sample_image(flat, to_x, to_y) / 3
        relief += sample_image(bristles, to_x, to_y) / len(steps)
    paint = 0.4 * paint + 0.35 * flat + 0.25 * image
    rough = interpolate(6, 40, style.grain)
    shade, hue = relief[..., :1], relief - relief.mean(-1, keepdims=True)
    # Light from the top left turns the bristle marks into a relief of paint.
    height = np.ascontiguousarray(relief[..., 0])
    light = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=0.2) + cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=0.2)
    paint += rough * (0.5 * shade + 0.35 * hue + light[..., None])
    return tint(128 + 1.1 * (paint - 124), style.palette)


def watercolor(image: np.ndarray, outline: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    x, y = pixel_grid()
    wobble = noise(rng, interpolate(6, 14, style.stroke), 2) * interpolate(0.3, 1.3, style.stroke)
    wash = 0.6 * kuwahara(image, (3, 4, 5)[round(style.stroke) + 1]) + 0.4 * image
    wash = sample_image(wash, x + wobble[..., 0], y + wobble[..., 1])
    soft = cv2.GaussianBlur(wash, (0, 0), interpolate(1.2, 2.6, style.stroke))
    wash = wash + np.minimum(0.8 * (wash - soft), 0)  # pigment collects on the dark side of a border
    flow = noise(rng, 22)
    tooth = cv2.GaussianBlur(noise(rng, 1.5), (0, 0), 0.7)
    pigment = 0.78 * (255 - tint(wash, style.palette))
    line = cv2.GaussianBlur(outline, (0, 0), 0.6)  # the pencil lines under the washes
    pigment += interpolate(50, 75, style.stroke) * line[..., None]
    pigment *= (1 + 0.1 * flow + interpolate(0, 0.22, style.grain) * tooth)[..., None]
    border = np.minimum(np.minimum(x, SIZE - 1 - x), np.minimum(y, SIZE - 1 - y))
    covered = np.clip((border + 2.2 * noise(rng, 9) - 5) / interpolate(5, 1.5, style.grain), 0, 1)
    paper = np.array([253, 250, 243], np.float32) - interpolate(0, 6, style.grain) * tooth[..., None]
    return paper - pigment * covered[..., None]


def hatching(period: float, angle: float, warp: np.ndarray) -> np.ndarray:
    """Return parallel strokes, from 0 (paper) to 1 (lead), float32 [128, 128]. They are `period` pixels apart, at right
    angles to direction `angle` (radians), and shifted by `warp` [128, 128] pixels so that they look drawn by hand."""
    x, y = pixel_grid()
    across = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)) + warp
    return 0.5 + 0.5 * np.sin(across * np.float32(2 * np.pi / period))


def pencil(image: np.ndarray, outline: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    gray = cv2.GaussianBlur(cv2.transform(image, LUMA[None]), (0, 0), 0.8)
    around = cv2.GaussianBlur(gray, (0, 0), 2.2)
    # Logarithmic contrast finds lines in dark areas as well as in bright ones.
    lines = np.clip(2.6 * (np.log(around + 20) - np.log(gray + 20)), 0, 0.8)
    dark = 0.85 * np.clip(1 - gray / 225, 0, 1)
    period, warp = interpolate(3.4, 6.4, style.stroke), 0.8 * noise(rng, 16)
    strokes = np.clip(1.6 * dark, 0, 1) * hatching(period, 0.8, warp)
    strokes += np.clip(1.8 * (dark - 0.5), 0, 1) * hatching(period, -0.75, warp)
    contour = cv2.GaussianBlur(outline, (0, 0), interpolate(0.5, 1.1, style.stroke))
    contour *= interpolate(1.0, 1.9, style.stroke)
    lead = 0.3 * dark + 0.26 * strokes + lines
    tooth = cv2.GaussianBlur(noise(rng, 1.6), (0, 0), 0.6)
    lead *= 1 + interpolate(0, 0.4, style.grain) * tooth
    lead = np.clip(lead + 0.85 * contour + interpolate(0, 0.05, style.grain) * tooth, 0, 0.92)[..., None]
    warmth = np.array([1, 0.15, -1], np.float32) * style.palette
    paper = np.array([246, 245, 242], np.float32) + 9 * warmth
    graphite = np.array([52, 50, 52], np.float32) + 34 * warmth
    return paper + (graphite - paper) * lead


def pixel(image: np.ndarray, outline: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    block = 4 + round(style.stroke)
    count = -(-SIZE // block)
    room = count * block - SIZE
    wide = cv2.copyMakeBorder(image, 0, room, 0, room, cv2.BORDER_REPLICATE)
    small = cv2.resize(wide, (count, count), interpolation=cv2.INTER_AREA)
    border = cv2.copyMakeBorder(outline, 0, room, 0, room, cv2.BORDER_CONSTANT)
    border = cv2.resize(border, (count, count), interpolation=cv2.INTER_AREA)
    small *= 1 - np.minimum(0.9 * border, 0.4)[..., None]  # dark outlines, as in old video games
    small = tint(128 + 1.12 * (small - 126), style.palette)
    step = interpolate(26, 40, style.stroke)
    # Ordered dithering: a checkerboard that is added before rounding mixes two colours into a third.
    checker = np.where(np.indices((count, count)).sum(0) % 2, 0.5, -0.5) * interpolate(0, 1, style.grain) ** 2
    speckle = rng.standard_normal((count, count), np.float32) * interpolate(0, 0.2, style.grain)
    small = np.round(np.clip(small, 0, 255) / step + (checker + speckle).astype(np.float32)[..., None]) * step
    return cv2.resize(small, None, fx=block, fy=block, interpolation=cv2.INTER_NEAREST)[:SIZE, :SIZE]


@cache
def tiling(pitch: float, uneven: float) -> tuple[np.ndarray, np.ndarray]:
    """Tile the image. The centres of the tiles deviate from a square grid with spacing `pitch` (pixels) by up to
    `uneven` spacings. Return the number of the tile at each pixel, int [128, 128], and the amount of grout in the
    pixel, float32 [128, 128] in [0, 1]."""
    rng = np.random.default_rng(7)
    count = int(SIZE / pitch) + 3
    rows, columns = np.indices((count, count))
    stray = rng.uniform(-uneven, uneven, (2, count, count))
    centers = (np.stack([columns - 0.8 + stray[0], rows - 0.8 + stray[1]], -1) * pitch).astype(np.float32)
    x, y = pixel_grid()
    column, row = (x / pitch + 0.8).astype(np.int32), (y / pitch + 0.8).astype(np.int32)
    distances, numbers = [], []
    for step_y in (-1, 0, 1, 2):
        for step_x in (-1, 0, 1, 2):
            i, j = np.clip(row + step_y, 0, count - 1), np.clip(column + step_x, 0, count - 1)
            # The maximum of both distances gives straight sides to tiles that are in line.
            dx, dy = np.abs(centers[i, j, 0] - x), np.abs(centers[i, j, 1] - y)
            distances.append(np.maximum(dx, dy) + 0.15 * np.minimum(dx, dy))
            numbers.append(i * count + j)
    order = np.argsort(distances, 0)[:2]
    nearest, second = np.take_along_axis(np.array(distances), order, 0)
    tiles = np.take_along_axis(np.array(numbers), order[:1], 0)[0]
    return tiles, np.clip(1.1 - (second - nearest) * 0.9, 0, 1).astype(np.float32)


def mosaic(image: np.ndarray, outline: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    # Rounded, so that `tiling` is computed for a few dozen settings only.
    pitch, uneven = 0.25 * round(4 * interpolate(3.6, 5.2, style.stroke)), 0.04 * round(interpolate(1, 7, style.grain))
    tiles, grout = tiling(pitch, uneven)
    crisp = image + 0.8 * (image - cv2.GaussianBlur(image, (0, 0), 2.0))
    flat = np.clip(tint(128 + 1.12 * (crisp - 126), style.palette), 0, 255).reshape(-1, 3)
    numbers = tiles.ravel()
    area = np.maximum(np.bincount(numbers), 1)
    means = np.stack([np.bincount(numbers, flat[:, channel]) / area for channel in range(3)], 1).astype(np.float32)
    glaze = rng.standard_normal((len(means), 1), np.float32)
    means += interpolate(2, 14, style.grain) * glaze
    # Tiles on a border are darker, so that the shape stays recognisable through the grout.
    means *= 1 - 0.7 * (np.bincount(numbers, outline.ravel()) / area).astype(np.float32)[:, None]
    tone = np.array([176, 172, 165], np.float32) + np.array([10, 0, -16], np.float32) * style.palette
    cover = 0.46 * grout[..., None]
    return means[tiles] * (1 - cover) + tone * cover


def comic(image: np.ndarray, outline: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    smooth = cv2.medianBlur(image.astype(np.uint8), 5).astype(np.float32)
    value = smooth.max(-1)
    levels = interpolate(5.0, 3.4, style.stroke)
    flat_value = np.clip(np.round(value / 255 * levels + 0.2) / levels, 0.22, 1) * 255
    colors = smooth * (flat_value / np.maximum(value, 1))[..., None]
    gray = cv2.transform(colors, LUMA[None])
    colors = tint(gray[..., None] + 1.25 * (colors - gray[..., None]), style.palette)
    # Halftone dots, which are larger where the image is darker.
    x, y = pixel_grid()
    dots = np.cos((x + y) * np.float32(np.pi / 4)) + np.cos((x - y) * np.float32(np.pi / 4))
    size = interpolate(-2.4, 0.6, style.grain) - (gray / 255 - 0.5)
    colors = colors * (1 - interpolate(0, 0.3, style.grain) * np.clip(1.2 * (dots + size) - 0.2, 0, 1))[..., None]
    blurred = cv2.GaussianBlur(cv2.transform(image, LUMA[None]), (0, 0), 0.8)
    around = cv2.GaussianBlur(blurred, (0, 0), interpolate(1.6, 2.6, style.stroke))
    inner = np.clip(6 * (np.log(around + 20) - np.log(blurred + 20)) - 0.9, 0, 0.6)
    width = interpolate(0.35, 0.85, style.stroke)
    ink = np.clip(cv2.GaussianBlur(outline, (0, 0), width) * (1 + 1.5 * width) - 0.1, 0, 1)
    ink = np.maximum(ink, inner)[..., None]
    return colors * (1 - ink) + 14 * ink


FILTERS = {
    "oil": oil,
    "watercolor": watercolor,
    "pencil": pencil,
    "pixel": pixel,
    "mosaic": mosaic,
    "comic": comic,
}
