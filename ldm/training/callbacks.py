"""What one looks at while the models train: pictures, a growing table of metrics, the averaged weights as a file."""

import csv
from pathlib import Path
from typing import Any

import pytorch_lightning as L

from ..files import replacing
from ..images import save_png, tile, to_uint8
from ..latent_diffusion import LatentDiffusion
from ..modules.autoencoder import AutoencoderKL
from ..sampling import Sampler
from ..weights.checkpoint import DROPPED, require_only_shards, write_weights


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
            sheet = tile([to_uint8(x), to_uint8(reconstruction)])
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
            save_png(self.folder / f"samples-{trainer.global_step:06d}.png", tile(rows))


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
        with replacing(self.path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in self.rows)
