"""The training pictures: scene i is drawn from (seed, i); the pictures are rendered once, by several processes, into a
memory-mapped file that is picked up where it was left and thrown away when the world's source changes."""

import ast
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .attributes import HAIRS, SKINS, Scene, Style
from .captions import NAME_SHARE, caption, plain_caption
from .errors import UserError
from .sampling import sample_scene

SIZE = 128
CHUNK = 250
_NOT_PIXELS = frozenset(("__init__.py", "captions.py", "dataset.py"))  # a change there changes no picture


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


def _scene(seed: int, held_out: bool, index: int) -> Scene:
    return sample_scene(np.random.default_rng([seed, index]), held_out=held_out)


def _doctor(seed: int, held_out: bool, index: int) -> Scene:
    rng = np.random.default_rng([seed, index])
    scene = sample_scene(rng, kind="doctor", style=Style(), named=0.0, held_out=held_out)
    look = {"skin": str(rng.choice(list(SKINS))), "hair": str(rng.choice(list(HAIRS)))}
    return replace(scene, toy=replace(scene.toy, **look))


def _render_chunk(path: str, draw: Callable[[int], Scene], start: int, stop: int) -> int:
    from .render import render  # here, so that reading finished pictures needs no renderer

    cv2.setNumThreads(1)  # the processes share the cores already
    images = np.load(path, mmap_mode="r+")
    for index in range(start, stop):
        images[index] = render(draw(index)).image
    images.flush()
    return start


def truth(scene: Scene) -> dict[str, str]:
    """What can be seen in the scene's picture, as labels: of the main figure its class, main colour ("" in a pencil
    sketch), pattern, and where it is a doctor skin and hair ("" elsewhere); the second figure's class ("" if there is
    none); background, style."""
    toy, doctor = scene.toy, scene.toy.kind == "doctor"
    return {
        "class": toy.kind,
        "color": "" if scene.style.name == "pencil" else toy.color.name,
        "pattern": toy.pattern,
        "companion": scene.companion.toy.kind if scene.companion else "",
        "background": scene.background,
        "style": scene.style.name,
        "skin": toy.skin if doctor else "",
        "hair": toy.hair if doctor else "",
    }


class RenderedScenes:
    """`count` scenes with pictures and captions. `held_out` draws only combinations that training never sees; `plain`
    is the share of captions that say little more than the class (`captions.plain_caption`), `named` how often the
    others call a toy or a painter by the name that it has."""

    def __init__(
        self,
        folder: str | Path,
        seed: int,
        count: int,
        held_out: bool = False,
        plain: float = 0.0,
        named: float = NAME_SHARE,
    ) -> None:
        if count < 1:
            raise UserError(f"count must be at least 1, got {count}")
        self.folder = Path(folder)
        self.seed, self.count, self.held_out, self.plain, self.named = seed, count, held_out, plain, named

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
        return caption(self.scene(index), rng, self.named)

    def labels(self, index: int) -> dict[str, str]:
        """What is true of picture `index`, in the words of `attributes`; see `truth`."""
        return truth(self.scene(index))

    def mask(self, index: int) -> np.ndarray:
        """Where the figure of picture `index` is, bool [128, 128]; drawn anew at each call."""
        from .render import render

        return render(self.scene(index)).mask

    @cached_property
    def images(self) -> np.ndarray:
        """uint8 [count, 128, 128, 3], RGB, memory-mapped; rendered by one process if `prepare` has not been called."""
        self.prepare(workers=1)
        return np.load(self._final, mmap_mode="r")

    @property
    def _draw(self) -> Callable[[int], Scene]:
        return partial(_scene, self.seed, self.held_out)

    @property
    def _final(self) -> Path:
        return self.folder / "images.npy"

    @property
    def _partial(self) -> Path:
        return self.folder / "images.partial.npy"

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
        """The starts of the chunks rendered earlier, none if the world has changed since. Raises UserError if the
        folder holds other pictures: they may have cost someone hours."""
        try:
            record = json.loads(self._record.read_text())
            done = {int(start) for start in record["done"]}
        except (FileNotFoundError, KeyError, TypeError, ValueError):  # no record, or a broken one
            return set()
        for key in ("of", "seed", "count", "held_out"):
            if record.get(key) != identity.get(key):
                raise UserError(f"{self.folder} holds pictures with {key}={record.get(key)}, not {identity.get(key)}")
        same = all(record.get(key) == value for key, value in identity.items())
        there = self._final.exists() or self._partial.exists()
        return done if same and there else set()

    def _write_record(self, identity: dict, done: set[int]) -> None:
        temporary = self._record.with_suffix(".json.tmp")
        temporary.write_text(json.dumps({**identity, "done": sorted(done)}))
        os.replace(temporary, self._record)

    def prepare(self, workers: int = 1) -> None:
        """Renders what is missing with that many processes. Killed at any time, it goes on where it was. One caller
        at a time. Raises UserError if the folder holds pictures of another seed, count or `held_out`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        identity, starts = self.identity, range(0, self.count, CHUNK)
        done = self._chunks_done(identity)
        if not done:
            self._record.unlink(missing_ok=True)
            self._final.unlink(missing_ok=True)
            shape = (self.count, SIZE, SIZE, 3)
            np.lib.format.open_memmap(self._partial, mode="w+", dtype=np.uint8, shape=shape).flush()
        missing = [start for start in starts if start not in done]
        self._render(missing, identity, done, workers)
        if self._partial.exists():
            os.replace(self._partial, self._final)

    def _render(self, missing: list[int], identity: dict, done: set[int], workers: int) -> None:
        jobs = [(str(self._partial), self._draw, start, min(start + CHUNK, self.count)) for start in missing]
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
        return partial(_doctor, self.seed, self.held_out)

    @property
    def identity(self) -> dict:
        return {"of": "doctors", **super().identity}
