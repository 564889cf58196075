"""What one looks at while the models train: pictures, a growing table of metrics, the averaged weights as a file."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as L
from PIL import Image
from torch import Tensor

from ..latent_diffusion import LatentDiffusion
from ..modules.autoencoder import AutoencoderKL
from ..sampling import Sampler
from ..weights.checkpoint import DROPPED, require_only_shards, write_weights


def to_uint8(x: Tensor) -> np.ndarray:
    """[b, 3, H, W] in [-1, 1] -> uint8 [b, H, W, 3], clipped."""
    return ((x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def grid(rows: list[np.ndarray], gap: int = 2) -> np.ndarray:
    """Rows of pictures, each uint8 [n, H, W, 3], on one white sheet; a short row ends in white."""
    width = max(len(row) for row in rows)
    framed = [np.pad(row, ((0, width - len(row)), (0, gap), (0, gap), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate([np.concatenate(list(row), axis=1) for row in framed], axis=0)


def save_png(path: Path, image: np.ndarray) -> None:
    """Write uint8 [H, W, 3] RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


class ReconstructionGrid(L.Callback):
    """At every validation, a sheet of pictures above their reconstructions: `folder`/reconstructions-<step>.png."""

    def __init__(self, folder: str, count: int = 12) -> None:
        self.folder, self.count = Path(folder), count

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: AutoencoderKL, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if batch_idx == 0:
            x = batch["image"][: self.count]
            reconstruction = pl_module.decode(pl_module.encode(x).mean)
            sheet = grid([to_uint8(x), to_uint8(reconstruction)])
            save_png(self.folder / f"reconstructions-{trainer.global_step:06d}.png", sheet)


class SampleGrid(L.Callback):
    """At every validation, one picture a prompt from the same noise each time: `folder`/samples-<step>.png."""

    def __init__(
        self, folder: str, prompts: list[str], steps: int = 25, guidance: float = 4.0, columns: int = 6
    ) -> None:
        self.folder, self.prompts = Path(folder), prompts
        self.sampler, self.guidance, self.columns = Sampler(steps), guidance, columns

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: LatentDiffusion) -> None:
        if trainer.is_global_zero:
            c, z_T = pl_module.cond_stage_model(self.prompts), pl_module.noise(0, range(len(self.prompts)))
            images = to_uint8(pl_module.sample(c, z_T, self.sampler, self.guidance))
            rows = [images[i : i + self.columns] for i in range(0, len(images), self.columns)]
            save_png(self.folder / f"samples-{trainer.global_step:06d}.png", grid(rows))


class Weights(L.Callback):
    """At the end of every validation, the module's weights (averaged, where EMA runs before this callback) in
    `folder`; without what only its training needs."""

    def __init__(self, folder: str) -> None:
        require_only_shards(folder)
        self.folder = folder

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking and trainer.is_global_zero:
            weights = pl_module.state_dict()
            write_weights(self.folder, {name: value for name, value in weights.items() if not name.startswith(DROPPED)})


class MetricsTable(L.Callback):
    """Logged metrics as rows of `path`, a CSV that grows on resume: every `every` steps and at each validation.
    Rows past the resumed step, written by the interrupted run, are dropped, so each step appears once."""

    def __init__(self, path: str, every: int = 50) -> None:
        self.path, self.every = Path(path), every
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Not on_fit_start: Lightning restores the step only after that."""
        if trainer.global_step and self.path.exists():
            with self.path.open(newline="") as file:
                rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row["step"] <= trainer.global_step]

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self._add(trainer, "train/")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._add(trainer, "val/")

    def _add(self, trainer: L.Trainer, prefix: str) -> None:
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(prefix)}
        if not self.rows or self.rows[-1]["step"] != trainer.global_step:
            self.rows.append({"step": trainer.global_step})
        self.rows[-1].update(metrics)
        if trainer.is_global_zero:
            self._write()

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in self.rows)
        partial.replace(self.path)
