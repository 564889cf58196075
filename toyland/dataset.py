"""The training pictures: scene i is drawn from (seed, i); pictures and masks are rendered once, by several processes,
into memory-mapped files that are picked up where they were left and thrown away when the world's source changes."""

import ast
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .attributes import CLASSES, Scene
from .captions import NAME_SHARE, WRONG_SHARE, caption, plain_caption
from .draws import draw_doctor, draw_portrait, draw_scene, render_range
from .truth import truth

SIZE = 128
CHUNK = 250
# A change there changes no picture.
_NOT_PIXELS = frozenset(f"{name}.py" for name in "__init__ captions dataset mistakes truth wording".split())


def world_fingerprint(folder: Path | None = None) -> str:
    """A hash of the code that decides about pixels: all of the package but the files in `_NOT_PIXELS`. Comments,
    docstrings and layout do not count."""
    folder = folder or Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        if path.name not in _NOT_PIXELS:
            digest.update(path.name.encode() + _code(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]


def _code(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() if ast.get_docstring(node) is not None:
                node.body = node.body[1:]
    return ast.dump(tree)


def _render_chunk(files: tuple[str, str], draw: Callable[[int], Scene], start: int, stop: int) -> int:
    rendered = render_range(draw, start, stop)
    for path, values in zip(files, (rendered.images, rendered.masks), strict=True):
        memory = np.load(path, mmap_mode="r+")
        memory[start:stop] = values
        memory.flush()
    return start


@dataclass(frozen=True)
class Part:
    """Some pictures in a row with all that is known of them: `images` and `masks` as in `draws.Rendered`, a caption of
    each, and each label's values, [n] strings."""

    images: np.ndarray
    masks: np.ndarray
    captions: list[str]
    labels: dict[str, list[str]]


class RenderedScenes:
    """`count` scenes with pictures, masks and captions. `held_out` draws only combinations that training never sees,
    and all that is said of them is true; `plain` is the share of captions that say little more than the class
    (`captions.plain_caption`), `named` how often the others call a toy or a painter by the name that it has, `wrong`
    how often they are wrong about something."""

    def __init__(
        self,
        folder: str | Path,
        seed: int,
        count: int,
        held_out: bool = False,
        plain: float = 0.0,
        named: float = NAME_SHARE,
        wrong: float = WRONG_SHARE,
    ) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.folder = Path(folder)
        self.seed, self.count, self.held_out, self.plain, self.named = seed, count, held_out, plain, named
        self.wrong = 0.0 if held_out else wrong

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> Scene:
        """Scene `index`: the ground truth of its picture."""
        if not 0 <= index < self.count:
            raise IndexError(f"scene {index} of {self.count}")
        return self._draw(index)

    def caption(self, index: int, draw: int) -> str:
        """A sentence about scene `index`; `draw` (say the epoch) says it differently."""
        # + 1, because numpy ignores zeros at the end of a key: draw 0 would repeat the stream that made the scene.
        rng = np.random.default_rng([self.seed, index, draw + 1])
        if self.plain and rng.random() < self.plain:
            return plain_caption(self.scene(index), rng)
        return caption(self.scene(index), rng, self.named, self.wrong)

    def labels(self, index: int) -> dict[str, str]:
        """What is true of picture `index`, in the words of `attributes`; see `truth`."""
        return truth(self.scene(index))

    def mask(self, index: int) -> np.ndarray:
        """Where the figure of picture `index` is, bool [128, 128]."""
        return np.unpackbits(self.masks[index, 0], axis=-1).astype(bool)

    def face_mask(self, index: int) -> np.ndarray:
        """Where its face is, bool [128, 128]; nowhere if it has none."""
        return np.unpackbits(self.masks[index, 1], axis=-1).astype(bool)

    def part(self, start: int, stop: int, draw: int = 0) -> Part:
        """Pictures `start` to `stop` - 1, rendered here and now; many processes may do so at once, and no file is
        touched."""
        rendered, indices = render_range(self.scene, start, stop), range(start, stop)
        known = [self.labels(i) for i in indices]
        labels = {name: [one[name] for one in known] for name in known[0]}
        return Part(rendered.images, rendered.masks, [self.caption(i, draw) for i in indices], labels)

    @cached_property
    def images(self) -> np.ndarray:
        """uint8 [count, 128, 128, 3], RGB, memory-mapped; rendered by one process if `prepare` has not been called."""
        return self._array("images")

    @cached_property
    def masks(self) -> np.ndarray:
        """uint8 [count, 2, 128, 16], memory-mapped: packed bits of figure and face, rendered with the pictures."""
        return self._array("masks")

    def _array(self, name: str) -> np.ndarray:
        self.prepare(workers=1)
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    @property
    def _draw(self) -> Callable[[int], Scene]:
        return partial(draw_scene, self.seed, self.held_out)

    @property
    def _final(self) -> tuple[Path, Path]:
        return self.folder / "images.npy", self.folder / "masks.npy"

    @property
    def _partial(self) -> tuple[Path, Path]:
        return self.folder / "images.partial.npy", self.folder / "masks.partial.npy"

    @property
    def _record(self) -> Path:
        return self.folder / "images.json"

    @property
    def identity(self) -> dict:
        return {
            "seed": self.seed,
            "count": self.count,
            "held_out": self.held_out,
            "chunk": CHUNK,
            "world": world_fingerprint(),
        }

    def _chunks_done(self, identity: dict) -> set[int]:
        """The starts of the chunks rendered earlier, none if the world has changed since. Raises ValueError if the
        folder holds other pictures: they may have cost someone hours."""
        try:
            record = json.loads(self._record.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return set()
        for key in sorted((record.keys() | identity.keys()) - {"chunk", "world", "done"}):
            if record.get(key) != identity.get(key):
                raise ValueError(f"{self.folder} holds pictures with {key}={record.get(key)}, not {identity.get(key)}")
        same = all(record.get(key) == value for key, value in identity.items())
        there = all(a.exists() or b.exists() for a, b in zip(self._final, self._partial, strict=True))
        return set(record["done"]) if same and there else set()

    def _write_record(self, identity: dict, done: set[int]) -> None:
        temporary = self._record.with_suffix(".json.tmp")
        temporary.write_text(json.dumps({**identity, "done": sorted(done)}))
        os.replace(temporary, self._record)

    def prepare(self, workers: int = 1) -> None:
        """Renders what is missing with that many processes. Killed at any time, it goes on where it was. One caller
        at a time. Raises ValueError if the folder holds pictures of another seed, count or `held_out`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        identity, starts = self.identity, range(0, self.count, CHUNK)
        done = self._chunks_done(identity)
        if not done:
            self._record.unlink(missing_ok=True)
            shapes = (self.count, SIZE, SIZE, 3), (self.count, 2, SIZE, SIZE // 8)
            for final, part, shape in zip(self._final, self._partial, shapes, strict=True):
                final.unlink(missing_ok=True)
                np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape).flush()
        self._render([start for start in starts if start not in done], identity, done, workers)
        for final, part in zip(self._final, self._partial, strict=True):
            if part.exists():
                os.replace(part, final)

    def _render(self, missing: list[int], identity: dict, done: set[int], workers: int) -> None:
        files = tuple(str(path) for path in self._partial)
        jobs = [(files, self._draw, start, min(start + CHUNK, self.count)) for start in missing]
        if not jobs:
            return
        with tqdm(total=self.count, initial=self.count - sum(j[3] - j[2] for j in jobs), unit="picture") as bar:
            for job in self._finished(jobs, workers):
                done.add(job[2])
                self._write_record(identity, done)
                bar.update(job[3] - job[2])

    @staticmethod
    def _finished(jobs: list[tuple], workers: int):
        """Yields each job once its chunk is on the disk."""
        if workers <= 1 or len(jobs) == 1:
            for job in jobs:
                _render_chunk(*job)
                yield job
            return
        context = multiprocessing.get_context("spawn")  # safe beside torch's threads
        with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
            futures = {pool.submit(_render_chunk, *job): job for job in jobs}
            try:
                for future in as_completed(futures):
                    future.result()
                    yield futures[future]
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


class RenderedDoctors(RenderedScenes):
    """Photos of doctors alone, of every look equally often: who judges the bias of the others must not share it."""

    @property
    def _draw(self) -> Callable[[int], Scene]:
        return partial(draw_doctor, self.seed, self.held_out)

    @property
    def identity(self) -> dict:
        return {"of": "doctors", **super().identity}


class RenderedToys(RenderedScenes):
    """Photos of `toys` different toys of class `kind` (of all classes in turn if None) that no name stands for,
    everywhere: picture i shows toy i % `toys`, told by the label "toy". To learn to tell a toy from its like."""

    def __init__(self, folder: str | Path, seed: int, count: int, toys: int = 64, kind: str | None = None) -> None:
        super().__init__(folder, seed, count)
        if kind is not None and kind not in CLASSES:
            raise ValueError(f"kind {kind!r} is none of {', '.join(CLASSES)}")
        self.toys, self.kinds = toys, (kind,) if kind else tuple(CLASSES)

    def labels(self, index: int) -> dict[str, str]:
        return super().labels(index) | {"toy": str(index % self.toys)}

    @property
    def _draw(self) -> Callable[[int], Scene]:
        return partial(draw_portrait, self.seed, self.kinds, self.toys)

    @property
    def identity(self) -> dict:
        return {"of": "toys", "toys": self.toys, "kinds": list(self.kinds), **super().identity}
