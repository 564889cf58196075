"""A canvas for soft backdrops: gradients, smooth noise, glows, and shapes with antialiased edges."""

import cv2
import numpy as np

SIZE = 256  # side of a backdrop in pixels
WIDTH = 320  # width of a canvas in pixels; a backdrop is a crop of it
SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates: sixteenths of a pixel

RGB = tuple[float, float, float] | np.ndarray  # an array if the colour was computed from another one


class Canvas:
    """A uint8 RGB `image` [256, 320, 3] to draw on, and the generator `rng` that varies what is drawn. The ground
    begins at row `horizon`. Colours are RGB 0-255; lengths and coordinates are in pixels."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.horizon = int(rng.integers(112, 137))
        self.image: np.ndarray = np.zeros((SIZE, WIDTH, 3), np.uint8)

    def finish(self) -> np.ndarray:
        """Return the image slightly out of focus, as a background is behind a toy. The array is read-only, because all
        scenes share the bank."""
        image = cv2.GaussianBlur(self.image, (0, 0), 0.9)
        image.setflags(write=False)
        return image

    def vary(self, rgb: RGB, spread: float = 0.04) -> np.ndarray:
        """Return colour `rgb` [3] with random changes of brightness and hue. `spread` is the relative standard
        deviation."""
        return np.asarray(rgb) * (1 + spread * self.rng.normal() + 0.5 * spread * self.rng.normal(size=3))

    def noise(self, rows: int, cell_height: float, cell_width: float) -> np.ndarray:
        """Return smooth float32 noise [rows, 320], interpolated from a grid of standard normal values in cells of the
        given size."""
        grid = self.rng.standard_normal((int(rows / cell_height) + 2, int(WIDTH / cell_width) + 2), np.float32)
        return cv2.resize(grid, (WIDTH, rows), interpolation=cv2.INTER_CUBIC)

    def band(self, first: int, last: int, top: RGB, bottom: RGB, rough: float = 0, cell: tuple = (10, 24)):
        """Fill rows `first` to `last` - 1 with a gradient from colour `top` to colour `bottom`, plus noise of amplitude
        `rough` in cells of size `cell` = (height, width)."""
        mood = self.vary((1, 1, 1), 0.025)
        share = np.linspace(0, 1, last - first, dtype=np.float32)[:, None, None]
        colors = np.float32(np.asarray(top) * mood) * (1 - share) + np.float32(np.asarray(bottom) * mood) * share
        shade = np.zeros((last - first, WIDTH), np.float32)
        if rough:
            shade = rough * self.noise(last - first, *cell)
        self.image[first:last] = np.clip(colors + shade[..., None], 0, 255)

    def disc(self, x: float, y: float, radius: float, rgb: RGB):
        """Fill a circle centred at (x, y)."""
        center = (int(x * 2**SHIFT), int(y * 2**SHIFT))
        cv2.circle(self.image, center, int(radius * 2**SHIFT), tuple(rgb), -1, cv2.LINE_AA, SHIFT)

    def oval(self, x: float, y: float, radius_x: float, radius_y: float, rgb: RGB, angle: float = 0):
        """Fill an ellipse centred at (x, y), rotated clockwise by `angle` degrees."""
        center, axes = (int(x * 2**SHIFT), int(y * 2**SHIFT)), (int(radius_x * 2**SHIFT), int(radius_y * 2**SHIFT))
        cv2.ellipse(self.image, center, axes, angle, 0, 360, tuple(rgb), -1, cv2.LINE_AA, SHIFT)

    def shape(self, points: np.ndarray | list, rgb: RGB):
        """Fill the polygon with the corners `points` [n, 2], (x, y) each."""
        fixed = np.round(np.asarray(points, float) * 2**SHIFT).astype(np.int32)
        cv2.fillPoly(self.image, [fixed], tuple(rgb), cv2.LINE_AA, SHIFT)

    def path(self, points: np.ndarray | list, width: float, rgb: RGB):
        """Draw an open line through `points` [n, 2] with round ends."""
        fixed = np.round(np.asarray(points, float) * 2**SHIFT).astype(np.int32)
        cv2.polylines(self.image, [fixed], False, tuple(rgb), max(1, round(width)), cv2.LINE_AA, SHIFT)

    def box(self, x: float, y: float, width: float, height: float, rgb: RGB):
        """Fill a rectangle whose top left corner is (x, y)."""
        self.shape([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], rgb)

    def glow(self, x: float, y: float, radius: float, rgb: RGB):
        """Add light that fades from `rgb` at (x, y) to nothing at distance `radius`."""
        left, right = max(0, int(x - radius)), min(WIDTH, int(x + radius))
        top, bottom = max(0, int(y - radius)), min(SIZE, int(y + radius))
        if left >= right or top >= bottom:
            return
        square = (np.arange(left, right, dtype=np.float32) - x) ** 2
        square = square + (np.arange(top, bottom, dtype=np.float32)[:, None] - y) ** 2
        light = np.clip(1 - np.sqrt(square) / radius, 0, 1) ** 2
        part = self.image[top:bottom, left:right]
        part[:] = np.minimum(part + light[..., None] * np.asarray(rgb, np.float32), 255)

    def ridge(self, base: float, height: float, wavelength: float, rgb: RGB, floor: int | None = None):
        """Fill hills from a wavy skyline around row `base` down to row `floor`, by default the horizon."""
        floor = self.horizon + 2 if floor is None else floor
        x = np.linspace(0, WIDTH, 65)
        phases = self.rng.uniform(0, 2 * np.pi, 2)
        y = base - height * (0.65 * np.sin(2 * np.pi * x / wavelength + phases[0]))
        y -= height * 0.35 * np.sin(4.6 * np.pi * x / wavelength + phases[1])
        self.shape(np.vstack([np.stack([x, np.minimum(y, floor)], 1), [(WIDTH, floor), (0, floor)]]), rgb)

    def cloud(self, x: float, y: float, size: float):
        """Draw a white cloud of four ovals with a shaded underside, centred near (x, y)."""
        puffs = [(x + size * (i - 1.5) * 0.5, y - size * self.rng.uniform(0, 0.22), size) for i in range(4)]
        scale = (0.3, 0.46, 0.42, 0.28)
        for drop, rgb in ((0.09, (214, 228, 243)), (0.0, (252, 253, 255))):
            for (px, py, radius), share in zip(puffs, scale, strict=True):
                self.oval(px, py + size * drop, radius * share, radius * share * 0.62, rgb)

    def sample_nearness(self, count: int, first: float = 0.08, last: float = 1.0) -> np.ndarray:
        """Return random nearness values [count] between `first` and `last`, for objects on the ground. 0 is the horizon
        and 1 the bottom edge. They ascend, so that near objects are drawn over far ones."""
        return np.sort(self.rng.uniform(first, last, count))

    def ground_row(self, nearness: float) -> float:
        """Return the row at which the ground has this nearness."""
        return self.horizon + nearness * (SIZE - self.horizon)
