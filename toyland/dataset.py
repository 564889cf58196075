"""Data sets of rendered scenes. Scene i is sampled from (seed, i). Several processes render images and masks once, into
memory-mapped files. An interrupted rendering resumes where it stopped; files of an earlier version of the world are
rendered again."""

import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .attributes import CLASSES, Scene
from .captions import NAME_SHARE, WRONG_SHARE, caption, plain_caption
from .draws import draw_doctor, draw_face, draw_scene, draw_unnamed_toy, render_range
from .errors import UserError
from .fingerprint import world_fingerprint
from .truth import truth

SIZE = 128
CHUNK = 250


def _render_chunk(files: tuple[str, str], draw: Callable[[int], Scene], start: int, stop: int) -> int:
    """Render scenes `start` to `stop` - 1 into the files of images and masks. Return `start`."""
    rendered = render_range(draw, start, stop)
    for path, values in zip(files, (rendered.images, rendered.masks), strict=True):
        memory = np.load(path, mmap_mode="r+")
        memory[start:stop] = values
        memory.flush()
    return start


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Return whether the file holds an array of this shape."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception:  # numpy raises almost any exception for a broken header
        return False
    return array.shape == shape and array.dtype == np.uint8


class RenderedScenes:
    """`count` scenes with images, masks and captions, stored in `folder`.

    With `held_out`, all scenes are combinations that are held out of training, and no caption contains a mistake.
    `plain` is the share of captions from `captions.plain_caption`. In the other captions, `named` is the probability
    that a named toy or painter is called by its name, see `captions.caption`. Raises UserError if `count` is below 1.
    """

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
        self.wrong = 0.0 if held_out else WRONG_SHARE

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> Scene:
        """Return scene `index`, the ground truth of image `index`. Raises IndexError if there is none."""
        if not 0 <= index < self.count:
            raise IndexError(f"there is no scene {index}: choose 0 to {self.count - 1}")
        return self._draw(index)

    def caption(self, index: int, draw: int) -> str:
        """Return a caption of scene `index`. Another `draw`, such as the epoch, gives another caption."""
        # numpy ignores zeros at the end of a key, so draw 0 without + 1 would repeat the stream that sampled the scene.
        rng = np.random.default_rng([self.seed, index, draw + 1])
        if self.plain and rng.random() < self.plain:
            return plain_caption(self.scene(index), rng)
        return caption(self.scene(index), rng, self.named, self.wrong)

    def labels(self, index: int) -> dict[str, str]:
        """Return the labels of image `index`, see `truth.truth`."""
        return truth(self.scene(index))

    def mask(self, index: int) -> np.ndarray:
        """Return the mask of the main figure in image `index`, bool [128, 128]."""
        return np.unpackbits(self.masks[index, 0], axis=-1).astype(bool)

    def face_mask(self, index: int) -> np.ndarray:
        """Return the mask of its face, bool [128, 128]. It is empty if the figure has no face."""
        return np.unpackbits(self.masks[index, 1], axis=-1).astype(bool)

    @cached_property
    def images(self) -> np.ndarray:
        """All images, uint8 RGB [count, 128, 128, 3], memory-mapped. The first access calls `prepare`."""
        return self._array("images")

    @cached_property
    def masks(self) -> np.ndarray:
        """All masks of figure and face, uint8 [count, 2, 128, 16] with packed bits, memory-mapped."""
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
    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return (self.count, SIZE, SIZE, 3), (self.count, 2, SIZE, SIZE // 8)

    @property
    def _record(self) -> Path:
        return self.folder / "images.json"

    @property
    def identity(self) -> dict:
        """What determines the rendered files, as JSON values. It is stored beside them."""
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
        for key in sorted((record.keys() | identity.keys()) - {"chunk", "world", "done"}):
            if record.get(key) != identity.get(key):
                raise UserError(
                    f"{self.folder} holds pictures with {key}={record.get(key)}, not {identity.get(key)}: "
                    "choose another folder"
                )
        same = all(record.get(key) == value for key, value in identity.items())
        every = set(range(0, self.count, CHUNK))
        files = zip(self._partial, self._final, self._shapes, strict=True)
        there = all(_is_whole(a if a.exists() else b, shape) for a, b, shape in files)
        there = there and (any(a.exists() for a in self._partial) or done == every)
        return done & every if same and there else set()

    def _write_record(self, identity: dict, done: set[int]) -> None:
        temporary = self._record.with_suffix(".json.tmp")
        temporary.write_text(json.dumps({**identity, "done": sorted(done)}))
        os.replace(temporary, self._record)

    def prepare(self, workers: int = 1) -> None:
        """Render the missing chunks with `workers` processes. If it is killed, the next call resumes. Only one process
        may call this at a time. Raises UserError if the folder holds another data set, such as one of another seed,
        count or `held_out`, or files of unknown origin."""
        self.folder.mkdir(parents=True, exist_ok=True)
        identity, starts = self.identity, range(0, self.count, CHUNK)
        done = self._chunks_done(identity)
        if not done and not self._record.exists() and any(final.exists() for final in self._final):
            raise UserError(
                f"{self.folder} holds {self._final[0].name} but no {self._record.name}, so it may be the file of "
                "something else: choose another folder, or delete it"
            )
        if not done:
            self._record.unlink(missing_ok=True)
            for final, part, shape in zip(self._final, self._partial, self._shapes, strict=True):
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
            for job in self._run_jobs(jobs, workers):
                done.add(job[2])
                self._write_record(identity, done)
                bar.update(job[3] - job[2])

    @staticmethod
    def _run_jobs(jobs: list[tuple], workers: int):
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


class RenderedFaces(RenderedScenes):
    """Scenes in which a quarter of the toys have no face. A classifier that is trained on them sees whether there is a
    face; from other scenes it could only learn which classes have one."""

    @property
    def _draw(self) -> Callable[[int], Scene]:
        return partial(draw_face, self.seed, self.held_out)

    @property
    def identity(self) -> dict:
        return {"of": "faces", **super().identity}


class RenderedDoctors(RenderedScenes):
    """Photos of doctors with every combination of skin and hair equally probable. The classifier of looks is trained on
    them, so that it does not share the bias of other scenes."""

    @property
    def _draw(self) -> Callable[[int], Scene]:
        return partial(draw_doctor, self.seed, self.held_out)

    @property
    def identity(self) -> dict:
        return {"of": "doctors", **super().identity}


class RenderedToys(RenderedScenes):
    """Photos of `toys` different unnamed toys in random places, for training a model to tell toys apart. The toys
    belong to all classes in turn. Image i shows toy i % `toys`, which is also its label "toy". Raises UserError for
    more toys than images, or for none."""

    def __init__(self, folder: str | Path, seed: int, count: int, toys: int) -> None:
        super().__init__(folder, seed, count)
        if not 1 <= toys <= count:
            raise UserError(f"toys is {toys}: give a number between 1 and count, which is {count}")
        self.toys = toys

    def labels(self, index: int) -> dict[str, str]:
        return super().labels(index) | {"toy": str(index % self.toys)}

    @property
    def _draw(self) -> Callable[[int], Scene]:
        return partial(draw_unnamed_toy, self.seed, tuple(CLASSES), self.toys)

    @property
    def identity(self) -> dict:
        return {"of": "toys", "toys": self.toys, "kinds": list(CLASSES), **super().identity}
