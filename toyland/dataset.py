"""Data sets of rendered scenes. Scene i is sampled from (seed, i). Several processes render the pictures once, into a
memory-mapped file. An interrupted rendering resumes where it stopped; pictures of an earlier version of the world are
rendered again."""

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
_NOT_PIXELS = frozenset(("__init__.py", "captions.py", "dataset.py"))  # changes there cannot change pixels


def world_fingerprint(folder: Path | None = None) -> str:
    """Return a hash of the code that determines pixels: the whole package (or `folder`) except `_NOT_PIXELS`. Comments,
    docstrings and layout do not change it."""
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
    from .render import render  # imported here, so that reading finished pictures does not load the renderer

    cv2.setNumThreads(1)  # several processes already use all cores
    images = np.load(path, mmap_mode="r+")
    for index in range(start, stop):
        images[index] = render(draw(index)).image
    images.flush()
    return start


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Return whether the file holds pictures of this shape."""
    try:
        images = np.lib.format.open_memmap(path, mode="r")
    except Exception:  # numpy raises almost any exception for a broken header
        return False
    return images.shape == shape and images.dtype == np.uint8


def truth(scene: Scene) -> dict[str, str]:
    """Return the labels of what is visible in the scene's picture. The class, main colour, pattern, skin and hair are
    those of the main figure: the colour is "" in a pencil sketch, and skin and hair are "" unless it is a doctor. The
    companion is the class of the second figure, or "" if there is none."""
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
    """`count` scenes with pictures and captions, stored in `folder`. With `held_out`, all scenes are combinations that
    training never sees. `plain` is the share of captions from `captions.plain_caption`. In the other captions, `named`
    is the probability that a named toy or painter is called by its name."""

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
        """Return scene `index`, the ground truth of picture `index`."""
        if not 0 <= index < self.count:
            raise IndexError(f"scene {index} of {self.count}")
        return self._draw(index)

    def caption(self, index: int, draw: int) -> str:
        """Return a caption of scene `index`. Another `draw`, such as the epoch, gives another caption."""
        # numpy ignores zeros at the end of a key, so draw 0 without + 1 would repeat the stream that sampled the scene.
        rng = np.random.default_rng([self.seed, index, draw + 1])
        if self.plain and rng.random() < self.plain:
            return plain_caption(self.scene(index), rng)
        return caption(self.scene(index), rng, self.named)

    def labels(self, index: int) -> dict[str, str]:
        """Return the labels of picture `index`, see `truth`."""
        return truth(self.scene(index))

    def mask(self, index: int) -> np.ndarray:
        """Return the mask of the main figure in picture `index`, bool [128, 128]. Each call renders the scene again."""
        from .render import render

        return render(self.scene(index)).mask

    @cached_property
    def images(self) -> np.ndarray:
        """All pictures, uint8 RGB [count, 128, 128, 3], memory-mapped. The first access renders what is missing with
        one process."""
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
        """Return the start of each chunk that is already rendered, or nothing if the world has changed since. Raises
        UserError if the folder holds another data set, which may have taken hours to render."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            done = {int(start) for start in record["done"]}
        except (FileNotFoundError, KeyError, TypeError, ValueError, OverflowError, RecursionError):  # none, or broken
            return set()
        for key in ("of", "seed", "count", "held_out"):
            if record.get(key) != identity.get(key):
                raise UserError(f"{self.folder} holds pictures with {key}={record.get(key)}, not {identity.get(key)}")
        same = all(record.get(key) == value for key, value in identity.items())
        shape, every = (self.count, SIZE, SIZE, 3), set(range(0, self.count, CHUNK))
        if self._partial.exists():
            there = _is_whole(self._partial, shape)
        else:
            there = done == every and _is_whole(self._final, shape)
        return done & every if same and there else set()

    def _write_record(self, identity: dict, done: set[int]) -> None:
        temporary = self._record.with_suffix(".json.tmp")
        temporary.write_text(json.dumps({**identity, "done": sorted(done)}))
        os.replace(temporary, self._record)

    def prepare(self, workers: int = 1) -> None:
        """Render the missing chunks with `workers` processes. If it is killed, the next call resumes. Only one process
        may call this at a time. Raises UserError if the folder holds another data set, such as one of another seed,
        count or `held_out`."""
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
        """Run all jobs with `workers` processes. Yield each job when its chunk is on disk."""
        if workers <= 1 or len(jobs) == 1:
            for job in jobs:
                _render_chunk(*job)
                yield job
            return
        context = multiprocessing.get_context("spawn")  # unlike fork, safe if torch has started threads
        with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
            futures = {pool.submit(_render_chunk, *job): job for job in jobs}
            try:
                for future in as_completed(futures):
                    future.result()
                    yield futures[future]
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


class RenderedDoctors(RenderedScenes):
    """Photos of doctors with every combination of skin and hair equally often. The classifier of looks is trained on
    them, so that it does not share the bias of other scenes."""

    @property
    def _draw(self) -> Callable[[int], Scene]:
        return partial(_doctor, self.seed, self.held_out)

    @property
    def identity(self) -> dict:
        return {"of": "doctors", **super().identity}
