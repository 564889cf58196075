"""Captioned images as an endless stream of training batches. Batch k is a pure function of (seed, k)."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import count
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pytorch_lightning as L
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from ..errors import UserError
from ..images import to_tensor
from ..keyed_random import numpy_generator

Batch = dict[str, Any]


class CaptionedImages(Protocol):
    """A source of training images: `images` uint8 [n, H, W, 3]. The caption of an image may depend on `draw`."""

    @property
    def images(self) -> np.ndarray: ...

    @property
    def identity(self) -> dict: ...  # JSON-serialisable; equal for equal images

    def prepare(self) -> None: ...

    def caption(self, index: int, draw: int) -> str: ...


@runtime_checkable
class Labelled(Protocol):
    """Images with ground-truth labels: label name -> value."""

    def labels(self, index: int) -> dict[str, str]: ...


class Masked(Protocol):
    """Images with a ground-truth mask of the figure: boolean [H, W]."""

    def mask(self, index: int) -> np.ndarray: ...


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    return numpy_generator(seed, epoch).permutation(n)


def epoch_indices(n: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Return the indices [batch_size] of batch `step`: a consecutive slice of the epoch's permutation of n."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    return np.array([_permutation(n, seed, position // n)[position % n] for position in positions.tolist()])


class BatchStream(IterableDataset):
    """Yields batch_at(start), batch_at(start + stride), ... without end. Workers of the loader take turns, in order."""

    def __init__(self, batch_at: Callable[[int], Any], start: int, stride: int = 1) -> None:
        self.batch_at, self.start, self.stride = batch_at, start, stride

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        first, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        return (self.batch_at(n) for n in count(self.start + first * self.stride, workers * self.stride))


class FixedBatches(Dataset):
    """A list of batches that is the same in every epoch."""

    def __init__(self, batches: Sequence[Any]) -> None:
        self.batches = batches

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]

    def __len__(self) -> int:
        return len(self.batches)


class CaptionedData(L.LightningDataModule):
    """An endless stream of training batches from `train`, which continues at the step of a resumed run. Of n processes
    of a distributed run, process r takes the batches r, r + n, ... Validation uses the first `val_size` images of
    `val`."""

    def __init__(
        self,
        train: CaptionedImages,
        val: CaptionedImages,
        batch_size: int,
        val_size: int,
        seed: int,
        num_workers: int,
    ) -> None:
        super().__init__()
        self.train, self.val, self.batch_size, self.val_size = train, val, batch_size, val_size
        self.seed, self.num_workers = seed, num_workers
        self.prepare_data_per_node = False  # machines share the folder of the images, and only one process may write it

    def prepare_data(self) -> None:
        self.train.prepare()
        self.val.prepare()

    def setup(self, stage: str) -> None:
        if self.val_size > len(self.val.images):
            raise UserError(
                f"data.val_size is {self.val_size}, but there are {len(self.val.images)} validation images."
            )

    def _indices(self, step: int) -> np.ndarray:
        """Return the indices of the images in batch `step`."""
        return epoch_indices(len(self.train.images), self.batch_size, self.seed, step)

    @abstractmethod
    def train_batch(self, step: int) -> Batch:
        """Return batch `step`; it does not depend on the batches drawn before."""

    def train_dataloader(self) -> DataLoader:
        start, stride = 0, 1
        if self.trainer is not None:
            stride = self.trainer.world_size
            start = self.trainer.global_step * stride + self.trainer.global_rank
        return DataLoader(BatchStream(self.train_batch, start, stride), batch_size=None, num_workers=self.num_workers)


class PictureData(CaptionedData):
    """Batches {"image" [b, 3, s, s] in [-1, 1], "caption" list of b}.

    `crop` is the side of a random square crop, to train convolutional models on parts of images; None does not crop."""

    def __init__(
        self,
        train: CaptionedImages,
        val: CaptionedImages,
        batch_size: int,
        val_size: int = 256,
        crop: int | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(train, val, batch_size, val_size, seed, num_workers)
        self.crop = crop

    def train_batch(self, step: int) -> Batch:
        indices = self._indices(step)
        rng = numpy_generator(self.seed, step, 1)
        images = np.stack([self._view(self.train.images[i], rng) for i in indices])
        captions = [self.train.caption(int(i), step) for i in indices]
        return {"image": to_tensor(images), "caption": captions}

    def _view(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.crop is not None:
            y, x = (int(rng.integers(0, side - self.crop + 1)) for side in image.shape[:2])
            image = image[y : y + self.crop, x : x + self.crop]
        return image[:, ::-1] if rng.random() < 0.5 else image

    def val_dataloader(self) -> DataLoader:
        return DataLoader(FixedBatches(val_batches(self.val, self.val_size)), batch_size=None)


class ContrastiveData(PictureData):
    """Batches of `PictureData` with hard negatives: in every second batch, all images have the same values of the
    labels `alike`, so the model must use the remaining differences. Such a batch is smaller than `batch_size` if there
    are not enough such images."""

    def __init__(self, *args: Any, alike: Sequence[str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.alike = alike

    @cached_property
    def _group_of(self) -> list[np.ndarray]:
        """For each image, the indices of all images with the same values of the labels `alike`."""
        known = _labels(self.train, range(len(self.train.images)))
        keys = list(zip(*(known[f"label_{name}"] for name in self.alike), strict=True))
        groups: dict[tuple[str, ...], list[int]] = {}
        for index, key in enumerate(keys):
            groups.setdefault(key, []).append(index)
        arrays = {key: np.array(group) for key, group in groups.items()}
        return [arrays[key] for key in keys]

    def _indices(self, step: int) -> np.ndarray:
        indices = super()._indices(step)
        if step % 2 == 0:
            return indices
        return numpy_generator(self.seed, step, 2).permutation(self._group_of[indices[0]])[: self.batch_size]


class LabelledData(CaptionedData):
    """Batches {"image" [b, 3, s, s] in [-1, 1], "label_<name>" list of b} of `Labelled` pictures."""

    def train_batch(self, step: int) -> Batch:
        indices = self._indices(step)
        mirrored = numpy_generator(self.seed, step, 1).random(len(indices)) < 0.5
        images = [self.train.images[i][:, ::-1] if mirror else self.train.images[i]
                  for i, mirror in zip(indices, mirrored, strict=True)]  # fmt: skip
        return {"image": to_tensor(np.stack(images)), **_labels(self.train, indices.tolist())}

    def val_dataloader(self) -> DataLoader:
        return DataLoader(FixedBatches(val_batches(self.val, self.val_size)), batch_size=None)


def val_batches(source: CaptionedImages, size: int, batch_size: int = 32) -> Sequence[Batch]:
    """Return the first `size` images of `source` with their first captions, in batches. If `source` is `Labelled`, the
    batches also hold each label: "label_<name>", a list of b."""
    return [_val_batch(source, range(i, min(i + batch_size, size))) for i in range(0, size, batch_size)]


def _val_batch(source: CaptionedImages, indices: range) -> Batch:
    images = to_tensor(source.images[indices.start : indices.stop])
    batch: Batch = {"image": images, "caption": [source.caption(i, 0) for i in indices]}
    return batch | _labels(source, indices) if isinstance(source, Labelled) else batch


def _labels(source: CaptionedImages, indices: Iterable[int]) -> Batch:
    if not isinstance(source, Labelled):
        raise UserError(f"the images of {type(source).__name__} have no labels: it has no method labels().")
    known = [source.labels(i) for i in indices]
    return {f"label_{name}": [labels[name] for labels in known] for name in known[0]}
