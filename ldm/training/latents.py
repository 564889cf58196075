"""Training data of the diffusion model: the posterior moments of every image, which the frozen first stage computes
once."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..errors import UserError
from ..files import read_json, replacing, write_json
from ..images import to_tensor
from ..modules.autoencoder import AutoencoderKL
from ..weights.fingerprint import weights_hash
from .data import Batch, CaptionedData, CaptionedImages, Emphasis, FixedBatches, Labelled, Masked, epoch_indices


@torch.no_grad()
def moments(first_stage: AutoencoderKL, images: np.ndarray) -> np.ndarray:
    """Return the posterior mean and standard deviation, float16 [n, 2, c, h, w], unscaled, of images uint8
    [n, H, W, 3]."""
    # Without a backward pass, channels last is twice as fast, also on CPUs.
    posterior = first_stage.encode(to_tensor(images).to(first_stage.device, memory_format=torch.channels_last))
    return torch.stack([posterior.mean, posterior.std], dim=1).half().cpu().numpy()


Conditions = dict[str, list[Any]]  # condition_key of the encoder -> one value per image


def captions(source: CaptionedImages, indices: Iterable[int], draw: int) -> Conditions:
    """Return the captions of the images."""
    return {"caption": [source.caption(i, draw) for i in indices]}


def classes(source: Labelled, indices: Iterable[int], draw: int) -> Conditions:
    """Return the class of the figure in each image."""
    return {"class": [source.labels(i)["class"] for i in indices]}


def masks(source: Masked, indices: Iterable[int], draw: int) -> Conditions:
    """Return the mask of the figure in each image."""
    return {"mask": [source.mask(i) for i in indices]}


def first_masks(source: Any, count: int) -> list[np.ndarray]:
    """Return the masks of the first `count` images of a `Masked` source, or of all if there are fewer, as prompts of
    `SampleGrid`."""
    return [source.mask(i) for i in range(min(count, len(source.images)))]


class LatentData(CaptionedData):
    """Batches {"mean", "std" [b, c, h, w]} with the `conditions` of the images. The moments of `train` and of the first
    `val_size` images of `val` are cached in `folder` and recomputed when the images or the first stage change. With an
    `emphasis`, which needs `Masked` images, training batches also hold "weight" [b, 1, h, w]."""

    def __init__(
        self,
        train: CaptionedImages,
        val: CaptionedImages,
        first_stage: AutoencoderKL,
        folder: str | Path,
        batch_size: int,
        val_size: int = 512,
        seed: int = 0,
        num_workers: int = 0,
        conditions: Callable[[Any, Iterable[int], int], Conditions] = captions,
        emphasis: Emphasis | None = None,
    ) -> None:
        super().__init__(train, val, batch_size, val_size, seed, num_workers)
        self.first_stage, self.folder = first_stage.eval(), Path(folder)
        self.conditions, self.emphasis = conditions, emphasis

    def prepare_data(self) -> None:
        super().prepare_data()
        super().setup("fit")  # raises for too few images before any is encoded
        for name, source, count in self._parts():
            if self._encoded(name, source, count) is None:
                self._encode(name, source, count)

    def setup(self, stage: str) -> None:
        """Open the tables of moments. Raises UserError if there is none of these images: only the process that calls
        `prepare_data` writes them."""
        super().setup(stage)
        self.train_moments, self.val_moments = (self._require(*part) for part in self._parts())

    def _parts(self) -> list[tuple[str, CaptionedImages, int]]:
        """Return the name, the source and the number of images of each table."""
        return [("train", self.train, len(self.train.images)), ("val", self.val, self.val_size)]

    def _require(self, name: str, source: CaptionedImages, count: int) -> np.ndarray:
        table = self._encoded(name, source, count)
        if table is None:
            raise UserError(
                f"{self.folder} has no latents of these {name} images, which the first process writes: it has failed, "
                "or the folder is not shared by all machines."
            )
        return table

    def _identity(self, source: CaptionedImages, count: int) -> dict[str, Any]:
        return {"count": count, "first_stage": weights_hash(self.first_stage), "pictures": source.identity}

    def _files(self, name: str) -> tuple[Path, Path]:
        """Return the file of a table, and that of its record."""
        return self.folder / f"{name}.npy", self.folder / f"{name}.json"

    def _encoded(self, name: str, source: CaptionedImages, count: int) -> np.ndarray | None:
        """Return the moments of the first `count` images, float16 [count, 2, c, h, w], memory-mapped; None if there
        are none."""
        path, record = self._files(name)
        table = _table(path)
        same = read_json(record) == self._identity(source, count)
        return table if same and table is not None and len(table) == count else None

    def _encode(self, name: str, source: CaptionedImages, count: int, batch_size: int = 10) -> None:
        """Write the table of moments of the first `count` images."""
        path, record = self._files(name)
        shape = (count, *moments(self.first_stage, source.images[:1]).shape[1:])
        with replacing(path) as partial:  # a process that reads the old table keeps its copy
            new = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
            for i in tqdm(range(0, count, batch_size), desc=f"encoding {name} images", unit="batch"):
                new[i : i + batch_size] = moments(self.first_stage, source.images[i : min(i + batch_size, count)])
            new.flush()
            record.unlink(missing_ok=True)  # before the table changes, so that a record never describes another one
        write_json(record, self._identity(source, count))

    def _batch(self, table: np.ndarray, source: CaptionedImages, indices: np.ndarray, draw: int) -> Batch:
        mean, std = torch.from_numpy(table[indices]).float().unbind(1)
        return {"mean": mean, "std": std, **self.conditions(source, indices.tolist(), draw)}

    def train_batch(self, step: int) -> Batch:
        indices = epoch_indices(len(self.train_moments), self.batch_size, self.seed, step)
        batch = self._batch(self.train_moments, self.train, indices, step)
        if self.emphasis:
            batch["weight"] = self._weights(self.emphasis, cast(Masked, self.train), indices.tolist())
        return batch

    def _weights(self, emphasis: Emphasis, source: Masked, indices: list[int]) -> Tensor:
        figures, faces = (np.stack([mask(i) for i in indices]) for mask in (source.mask, source.face_mask))
        return F.avg_pool2d(emphasis.weights(figures, faces), self.first_stage.downsampling)

    def val_dataloader(self) -> DataLoader:
        pieces = np.array_split(np.arange(self.val_size), max(1, self.val_size // 64))
        batches = [self._batch(self.val_moments, self.val, p, 0) for p in pieces]
        return DataLoader(FixedBatches(batches), batch_size=None)


def _table(path: Path) -> np.ndarray | None:
    """Open a table of moments, float16 [n, 2, c, h, w], memory-mapped; None if there is none, or if it is broken."""
    try:
        table = np.lib.format.open_memmap(path, mode="r")
    except Exception:  # numpy raises almost any exception for a broken header
        return None
    return table if table.dtype == np.float16 and table.ndim == 5 and table.shape[1] == 2 else None


def unit_scale(table: np.ndarray) -> float:
    """Return 1 / standard deviation of latents sampled from the moments `table` [n, 2, c, h, w]: the `scale_factor` of
    a diffusion model for them."""
    mean, std = np.float32(table[:, 0]), np.float32(table[:, 1])
    return float(1.0 / np.sqrt(mean.var() + np.square(std).mean()))
