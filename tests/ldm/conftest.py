"""A small data set of small images."""

import numpy as np
import pytest

KINDS = "cat dog rabbit robot owl duck fish bear".split()
COLORS = "red blue green yellow".split()


class Pictures:
    """`count` random smooth images; the caption of an image depends on the draw."""

    def __init__(self, count: int, side: int, seed: int) -> None:
        self.identity = {"count": count, "side": side, "seed": seed}
        coarse = np.random.default_rng(seed).integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)
        self.images = coarse.repeat(side // 2, axis=1).repeat(side // 2, axis=2)
        self.prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    def caption(self, index: int, draw: int) -> str:
        return f"a photo of a {COLORS[draw % len(COLORS)]} {KINDS[index % len(KINDS)]}"


@pytest.fixture
def pictures():
    """Return a builder of sources of training images."""

    def build(count: int = 6, side: int = 16, seed: int = 0) -> Pictures:
        return Pictures(count, side, seed)

    return build


@pytest.fixture
def logged():
    """Return a function that redirects the logged metrics of a module to a dictionary, without a trainer."""

    def catch(module) -> dict[str, float]:
        values: dict[str, float] = {}
        module.log = lambda name, value, **_: values.update({name: float(value)})
        module.log_dict = lambda metrics, **_: values.update({n: float(v) for n, v in metrics.items()})
        return values

    return catch
