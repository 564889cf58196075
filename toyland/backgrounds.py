"""Draw the ten places where a toy can stand. Each place has a bank of 40 pictures, drawn from fixed seeds, and a scene
takes a random crop of one of them. The textures are soft on purpose: the autoencoder would lose small sharp details,
and learning them would cost it capacity."""

import zlib
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from toyland.attributes import BACKGROUNDS
from toyland.canvas import RGB, SIZE, WIDTH, Canvas

BANK_SIZE = 40


def backdrop(name: str, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return a random uint8 RGB crop [256, 256, 3] of place `name`, and the row at which the ground begins.
    Raises ValueError for an unknown place."""
    if name not in BACKGROUNDS:
        raise ValueError(f"unknown background {name!r}: choose one of {', '.join(BACKGROUNDS)}")
    pictures = bank(name)
    image, horizon = pictures[rng.integers(len(pictures))]
    left = rng.integers(WIDTH - SIZE + 1)
    window = image[:, left : left + SIZE]
    return (cv2.flip(window, 1) if rng.random() < 0.5 else np.ascontiguousarray(window)), horizon


@cache
def bank(name: str) -> tuple[tuple[np.ndarray, int], ...]:
    """Return the picture bank of place `name`: (uint8 RGB [256, 320, 3], row of the horizon) of each. The pictures are
    the same in every process."""
    seed = zlib.crc32(name.encode())  # unlike hash(), the same in every process
    pictures = []
    for number in range(BANK_SIZE):
        canvas = Canvas(np.random.default_rng((seed, number)))
        PLACES[name](canvas)
        pictures.append((canvas.finish(), canvas.horizon))
    return tuple(pictures)


def beach(canvas: Canvas):
    rng, horizon = canvas.rng, canvas.horizon
    sea = horizon - int(rng.integers(30, 40))
    canvas.band(0, sea, (80, 165, 235), (205, 233, 248))
    x, y = rng.uniform(50, WIDTH - 50), rng.uniform(26, 46)
    canvas.glow(x, y, 62, (120, 95, 30))
    canvas.disc(x, y, 16, (255, 240, 150))
    for _ in range(2):
        canvas.cloud(rng.uniform(0, WIDTH), rng.uniform(26, sea - 26), rng.uniform(30, 46))
    canvas.band(sea, horizon, (25, 105, 180), (70, 190, 205), 4, (6, 40))
    x, y = rng.uniform(20, WIDTH - 20), sea + 4
    canvas.shape([(x, y - 26), (x, y - 4), (x + 15, y - 4)], (250, 250, 245))
    canvas.shape([(x - 3, y - 22), (x - 3, y - 4), (x - 12, y - 4)], (235, 90, 70))
    canvas.shape([(x - 14, y - 2), (x + 17, y - 2), (x + 11, y + 5), (x - 9, y + 5)], (120, 70, 45))
    canvas.band(horizon, SIZE, (240, 217, 160), (228, 194, 132), 3, (16, 44))
    canvas.ridge(horizon + 5, 4, 120, (205, 172, 118), horizon - 5)
    for base, rgb in ((horizon + 3, (208, 178, 124)), (horizon - 2, (250, 252, 250)), (horizon - 8, (90, 200, 210))):
        x = np.linspace(0, WIDTH, 50)
        wave = base + 3.5 * np.sin(x / 25 + horizon) + 1.5 * np.sin(x / 11 + sea)
        canvas.shape(np.vstack([np.stack([x, wave], 1), [(WIDTH, horizon - 14), (0, horizon - 14)]]), rgb)


def moon(canvas: Canvas):
    rng, horizon = canvas.rng, canvas.horizon
    canvas.band(0, horizon, (4, 4, 12), (20, 20, 38))
    for _ in range(13):
        canvas.disc(rng.uniform(0, WIDTH), rng.uniform(0, horizon - 14), rng.uniform(1.4, 2.6), (235, 238, 255))
    x, y = rng.uniform(70, WIDTH - 70), rng.uniform(32, 52)
    canvas.glow(x, y, 50, (20, 45, 90))
    canvas.disc(x, y, 23, (40, 110, 215))
    canvas.oval(x - 7, y - 6, 9, 7, (70, 165, 85), 30)
    canvas.oval(x + 8, y + 6, 7, 9, (80, 160, 80), 20)
    canvas.oval(x + 3, y - 14, 12, 3.5, (240, 246, 252), 8)
    canvas.oval(x - 6, y + 13, 11, 3.5, (235, 242, 252), -8)
    canvas.ridge(horizon - 5, 7, 190, canvas.vary((98, 98, 106)))
    canvas.band(horizon, SIZE, (128, 127, 133), (166, 164, 166), 4, (16, 40))
    for nearness in canvas.sample_nearness(8, 0.06):
        x, y, size = rng.uniform(0, WIDTH), canvas.ground_row(nearness), 9 + 26 * nearness
        canvas.oval(x, y, size, size * 0.38, (188, 186, 188))
        canvas.oval(x, y + size * 0.03, size * 0.86, size * 0.31, (98, 97, 104))
        canvas.oval(x + size * 0.06, y + size * 0.09, size * 0.74, size * 0.23, (128, 127, 132))


def fir(canvas: Canvas, x: float, y: float, height: float, rgb: np.ndarray):
    """Draw a fir with three snowy tiers. Its foot is at (x, y); `height` is in pixels."""
    canvas.box(x - height * 0.04, y - height * 0.12, height * 0.08, height * 0.13, (88, 62, 48))
    for tier, half in ((0.08, 0.29), (0.34, 0.23), (0.58, 0.16)):
        foot, top = y - height * tier, y - height * min(1, tier + 0.46)
        canvas.shape([(x, top), (x + half * height, foot), (x - half * height, foot)], rgb)
        snow = 0.42 * half * height
        middle = top + 0.42 * (foot - top)
        canvas.shape([(x, top), (x + snow, middle), (x, middle - 0.1 * height), (x - snow, middle)], (240, 246, 252))


def snow(canvas: Canvas):
    rng, horizon = canvas.rng, canvas.horizon
    canvas.band(0, horizon, (150, 188, 222), (226, 235, 244))
    for base, tone in ((horizon - 32, (196, 212, 230)), (horizon - 14, (216, 227, 240))):
        canvas.ridge(base, 15, 210, tone)
    canvas.band(horizon, SIZE, (232, 239, 248), (248, 250, 253), 3, (18, 60))
    for x in np.arange(rng.uniform(-10, 20), WIDTH + 10, 34):
        height = rng.uniform(44, 88)
        fir(canvas, x + rng.uniform(-9, 9), horizon + rng.uniform(1, 9), height, canvas.vary((48, 104, 88), 0.09))
    for nearness in canvas.sample_nearness(3, 0.3):
        canvas.oval(rng.uniform(0, WIDTH), canvas.ground_row(nearness), 80, 8, (228, 236, 247))
    for _ in range(14):
        canvas.disc(rng.uniform(0, WIDTH), rng.uniform(0, SIZE), rng.uniform(2.2, 3.6), (255, 255, 255))


def forest(canvas: Canvas):
    rng, horizon = canvas.rng, canvas.horizon
    canvas.band(0, horizon, (92, 138, 62), (182, 208, 122))
    for count, width, rgb in ((9, 7, (122, 142, 84)), (6, 15, (88, 62, 40))):
        for slot in range(count):
            x = (slot + rng.uniform(0.15, 0.85)) * WIDTH / count
            trunk, half = canvas.vary(rgb, 0.08), width * rng.uniform(0.75, 1.25) / 2
            foot = horizon + half * 1.2
            bark = [(x - half, 0), (x + half, 0), (x + half, foot - 9), (x + half * 1.9, foot), (x - half * 1.9, foot)]
            canvas.shape([*bark, (x - half, foot - 9)], trunk)
            canvas.box(x - half, 0, half * 0.7, foot - 4, trunk * 1.22)
    canvas.band(horizon + 3, SIZE, (78, 96, 44), (52, 76, 36), 4.5, (14, 36))
    for slot in range(16):
        x = (slot + rng.uniform(0, 1)) * WIDTH / 16
        canvas.oval(x, horizon + rng.uniform(1, 6), 17, rng.uniform(7, 13), canvas.vary((62, 104, 44), 0.12))
    for layer, rgb in ((34, (44, 92, 38)), (14, (60, 118, 46))):
        for slot in range(12):
            x, y = (slot + rng.uniform(0, 1)) * WIDTH / 12, layer + rng.uniform(-14, 10)
            canvas.oval(x, y, rng.uniform(20, 30), rng.uniform(15, 22), canvas.vary(rgb, 0.12))
    for _ in range(3):
        canvas.glow(rng.uniform(0, WIDTH), rng.uniform(40, horizon), 60, (50, 52, 18))


def cactus(canvas: Canvas, x: float, y: float, height: float):
    """Draw a cactus with two arms. Its foot is at (x, y); `height` is in pixels."""
    green = canvas.vary((62, 122, 66), 0.06)
    for width, rgb, shift in ((0.2, green, 0.0), (0.06, green * 1.3, -0.04)):
        left = [(-0.26, -0.72), (-0.26, -0.45), (0, -0.38)]
        right = [(0, -0.28), (0.27, -0.36), (0.27, -0.62)]
        for line in ([(0, 0), (0, -1)], left, right):
            thick = width * (1 if len(line) == 2 else 0.75)
            canvas.path(np.array(line) * height + (x + shift * height, y), thick * height, rgb)


def desert(canvas: Canvas):
    rng, horizon = canvas.rng, canvas.horizon
    canvas.band(0, horizon, (238, 138, 62), (255, 222, 140))
    x, y = rng.uniform(50, WIDTH - 50), horizon - rng.uniform(24, 44)
    canvas.glow(x, y, 85, (70, 75, 55))
    canvas.disc(x, y, 21, (255, 246, 200))
    x, top = rng.uniform(0, WIDTH), horizon - rng.uniform(36, 50)
    canvas.shape([(x - 48, horizon), (x - 34, top), (x + 30, top), (x + 44, horizon)], (196, 98, 62))
    canvas.ridge(horizon - 8, 10, 230, canvas.vary((222, 142, 76)))
    canvas.band(horizon, SIZE, (236, 168, 92), (216, 136, 66), 4, (14, 50))
    for nearness, shade in ((0.02, (228, 154, 82)), (0.3, (240, 174, 98)), (0.62, (222, 144, 74))):
        canvas.ridge(canvas.ground_row(nearness) + 9, 9, 260, canvas.vary(shade, 0.02), SIZE)
    for slot in range(3):
        x = (slot + rng.uniform(0.1, 0.9)) * WIDTH / 3
        cactus(canvas, x, horizon + rng.uniform(4, 16), rng.uniform(44, 62))


def city(canvas: Canvas):
    rng, horizon = canvas.rng, canvas.horizon
    canvas.band(0, horizon, (14, 16, 52), (112, 62, 122))
    x = rng.uniform(30, WIDTH - 30)
    canvas.glow(x, 24, 46, (50, 50, 60))
    canvas.disc(x, 24, 12, (245, 240, 215))
    for x in range(-10, WIDTH, 26):
        canvas.box(x, horizon - rng.uniform(48, 92), 27, 100, canvas.vary((58, 42, 92), 0.06))
    x = float(rng.uniform(-24, 0))
    while x < WIDTH:
        columns, floors = int(rng.integers(2, 4)), int(rng.integers(2, 6))
        width, top = columns * 16 + 8, horizon - floors * 18 - 10
        canvas.box(x, top, width, horizon - top, canvas.vary((26, 27, 48), 0.1))
        for column, floor in np.argwhere(rng.random((columns, floors)) < 0.6):
            rgb = (255, 214, 118) if rng.random() < 0.8 else (150, 205, 255)
            canvas.box(x + 7 + column * 16, top + 9 + floor * 18, 9, 10, rgb)
        x += width + rng.uniform(3, 14)
    canvas.band(horizon, SIZE, (52, 52, 66), (72, 72, 86), 3, (14, 40))
    canvas.box(0, horizon, WIDTH, 9, (108, 106, 118))
    for x in np.arange(rng.uniform(-60, 0), WIDTH, 84):
        canvas.shape([(x + 6, 214), (x + 46, 214), (x + 42, 224), (x - 2, 224)], (222, 204, 122))
    for x in np.arange(rng.uniform(10, 60), WIDTH, 150):
        canvas.path([(x, horizon + 6), (x, horizon - 52)], 4, (40, 40, 52))
        canvas.glow(x, horizon - 56, 36, (130, 105, 50))
        canvas.disc(x, horizon - 56, 6, (255, 240, 190))


def table(canvas: Canvas):
    rng, horizon = canvas.rng, canvas.horizon
    wall = canvas.vary(((206, 224, 214), (232, 220, 196), (208, 218, 232))[rng.integers(3)], 0.03)
    canvas.band(0, horizon, wall, wall * 0.93)
    for x in np.arange(rng.uniform(-20, 0), WIDTH, 40):
        canvas.box(x, 0, 18, horizon, wall * 0.95)
    x, height = rng.uniform(30, WIDTH - 130), horizon - 46
    canvas.box(x, 8, 100, height + 12, (250, 248, 242))
    canvas.box(x + 7, 15, 86, height - 2, (158, 208, 242))
    canvas.oval(x + 50, 8 + height, 42, 14, (130, 182, 110))
    canvas.box(x, height + 13, 100, 14, wall * 0.95)
    canvas.box(x + 46, 8, 7, height + 8, (250, 248, 242))
    canvas.box(x - 6, height + 12, 112, 8, (242, 238, 230))
    row, thickness = horizon, 16.0
    while row < SIZE:
        last = min(SIZE, int(row + thickness))
        plank = canvas.vary((188, 124, 72), 0.035)
        canvas.band(row, last, plank * 1.04, plank * 0.97, 5, (7, 90))
        canvas.box(0, row, WIDTH, 2, plank * 0.74)
        canvas.box(rng.uniform(0, WIDTH), row, 2.5, last - row, plank * 0.78)
        row, thickness = last, thickness * 1.3
    canvas.box(0, horizon - 1, WIDTH, 5, (214, 154, 96))


def underwater(canvas: Canvas):
    rng, horizon = canvas.rng, canvas.horizon + 8
    canvas.horizon = horizon
    canvas.band(0, horizon, (70, 185, 225), (14, 78, 150))
    rays = np.zeros((SIZE, WIDTH), np.uint8)
    for _ in range(4):
        x, width, lean = rng.uniform(0, WIDTH), rng.uniform(9, 18), rng.uniform(20, 60)
        beam = [(x, 0), (x + width, 0), (x + 2.2 * width + lean, horizon), (x + lean - width, horizon)]
        cv2.fillPoly(rays, [np.array(beam, np.int32)], 34)
    fade = np.linspace(1, 0.1, horizon)[:, None].astype(np.float32)
    light = cv2.blur(rays[:horizon], (15, 9)) * fade
    canvas.image[:horizon] = np.minimum(canvas.image[:horizon] + light[..., None], 255)
    canvas.ridge(horizon - 8, 9, 170, canvas.vary((18, 84, 132)))
    canvas.band(horizon, SIZE, (122, 160, 158), (176, 178, 140), 5, (8, 44))
    for slot in range(9):
        x, tall = (slot + rng.uniform(0, 1)) * WIDTH / 9, rng.uniform(34, 82)
        up = np.linspace(0, 1, 9)
        sway = 6 * np.sin(up * 6 + rng.uniform(0, 6))
        weed = np.stack([x + sway, horizon + 8 - tall * up], 1)
        canvas.path(weed, 7, canvas.vary((34, 128, 84), 0.12))
    for nearness in canvas.sample_nearness(5, 0.05, 0.9):
        x, y, size = rng.uniform(0, WIDTH), canvas.ground_row(nearness), 8 + 7 * nearness
        rgb = canvas.vary(((236, 112, 104), (242, 158, 92), (196, 118, 196))[rng.integers(3)])
        turn = rng.uniform(0, 2 * np.pi) + np.arange(10) * np.pi / 5
        reach = size * np.where(np.arange(10) % 2, 0.5, 1.25)
        star = np.stack([x + reach * np.cos(turn), y + 0.62 * reach * np.sin(turn)], 1)
        canvas.shape(star + np.array([0, 2]), rgb * 0.72)
        canvas.shape(star, rgb)
    for _ in range(11):
        x, y, radius = rng.uniform(0, WIDTH), rng.uniform(6, horizon - 10), rng.uniform(3, 6.5)
        canvas.disc(x, y, radius, (168, 222, 244))
        canvas.disc(x + radius * 0.15, y + radius * 0.15, radius * 0.62, (82, 172, 216))


def flower(canvas: Canvas, x: float, y: float, radius: float, rgb: RGB):
    """Draw a flower with five petals of colour `rgb`, centred at (x, y)."""
    for turn in np.arange(5) * 2 * np.pi / 5:
        canvas.disc(x + radius * 0.62 * np.cos(turn), y + radius * 0.5 * np.sin(turn), radius * 0.5, rgb)
    canvas.disc(x, y, radius * 0.4, (255, 220, 90))


def meadow(canvas: Canvas):
    rng, horizon = canvas.rng, canvas.horizon
    canvas.band(0, horizon, (92, 170, 240), (206, 232, 250))
    for slot in range(3):
        canvas.cloud((slot + rng.uniform(0.2, 0.8)) * WIDTH / 3, rng.uniform(22, 62), rng.uniform(34, 52))
    canvas.ridge(horizon - 18, 13, 240, canvas.vary((122, 188, 112)))
    canvas.ridge(horizon - 5, 9, 180, canvas.vary((106, 182, 84)))
    canvas.band(horizon, SIZE, (118, 196, 80), (76, 158, 52), 5, (12, 26))
    colors = ((236, 74, 84), (250, 250, 250), (250, 206, 60), (206, 108, 222), (246, 132, 176))
    for nearness in canvas.sample_nearness(34, 0.04):
        x, y = rng.uniform(0, WIDTH), canvas.ground_row(nearness)
        flower(canvas, x, y, 3.5 + 6 * nearness, colors[rng.integers(len(colors))])


def studio(canvas: Canvas):
    rng, horizon = canvas.rng, canvas.horizon
    hue = rng.uniform(0, 2 * np.pi)
    tint = np.cos(hue + np.array([0, 2, 4]) * np.pi / 3) * rng.uniform(4, 20)
    paper = np.array([232, 229, 225]) + tint
    canvas.band(0, SIZE, paper * 0.93, paper * 0.93)
    light = np.interp(np.arange(SIZE), (0, horizon - 12, horizon + 14, SIZE), (0.97, 1.03, 1.09, 0.95))
    canvas.image = np.clip(canvas.image * light[:, None, None], 0, 255).astype(np.uint8)
    canvas.glow(WIDTH / 2 + rng.uniform(-40, 40), horizon - 20, 190, (26, 26, 26))


PLACES: dict[str, Callable[[Canvas], None]] = {
    "beach": beach,
    "moon": moon,
    "snow": snow,
    "forest": forest,
    "desert": desert,
    "city": city,
    "table": table,
    "underwater": underwater,
    "meadow": meadow,
    "studio": studio,
}
