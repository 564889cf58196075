"""Callbacks that write images, metrics and the averaged weights during training."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as L

from ..files import replacing
from ..images import save_png, tile, to_uint8
from ..latent_diffusion import LatentDiffusion
from ..modules.autoencoder import AutoencoderKL
from ..sampling import Sampler
from ..schedule import TABLES
from ..weights.checkpoint import DROPPED, require_only_shards, write_weights


class ReconstructionGrid(L.Callback):
    """At every validation, writes images above their reconstructions: `folder`/reconstructions-<step>.png."""

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
    """At every validation, writes one image per prompt, from the same noise each time: `folder`/samples-<step>.png."""

    def __init__(
        self, folder: str, prompts: list[str], sampler: Sampler, guidance: float = 4.0, columns: int = 6
    ) -> None:
        self.folder, self.prompts = Path(folder), prompts
        self.sampler, self.guidance, self.columns = sampler, guidance, columns

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: LatentDiffusion) -> None:
        if trainer.is_global_zero:
            noise = partial(pl_module.noise, 0, range(len(self.prompts)))
            c = pl_module.cond_stage_model(self.prompts)
            images = to_uint8(pl_module.sample(c, noise(), self.sampler, self.guidance, noise))
            rows = [images[i : i + self.columns] for i in range(0, len(images), self.columns)]
            save_png(self.folder / f"samples-{trainer.global_step:06d}.png", tile(rows))


class Weights(L.Callback):
    """At the end of every validation, writes the weights of the module to `folder`, without those that only its
    training needs (`DROPPED`) and without the noise schedule, which is computed. They are averaged weights if EMA runs
    before this callback."""

    def __init__(self, folder: str) -> None:
        require_only_shards(folder)
        self.folder = folder

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking and trainer.is_global_zero:
            weights = pl_module.state_dict()
            needed = [name for name in weights if name not in TABLES and not name.startswith(DROPPED)]
            write_weights(self.folder, {name: weights[name] for name in needed})


def learning_rates(trainer: L.Trainer) -> dict[str, float]:
    """Return the rates of the first optimizer: "lr", or "lr/0", "lr/1", ... for several parameter groups."""
    groups = trainer.optimizers[0].param_groups
    return {f"lr/{i}" if len(groups) > 1 else "lr": group["lr"] for i, group in enumerate(groups)}


class MetricsTable(L.Callback):
    """Writes logged metrics and learning rates as rows of the CSV file `path`, every `every` steps and at each
    validation. A resumed run appends to the file and first drops rows past the step it resumes from, so each step
    appears once. Written by hand, since Lightning's CSVLogger deletes the rows from before the interruption."""

    def __init__(self, path: str, every: int = 50) -> None:
        self.path, self.every = Path(path), every
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Read the rows of the interrupted run. In on_fit_start, Lightning has not restored the step yet."""
        if trainer.global_step and self.path.exists():
            with self.path.open(newline="") as file:
                rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row["step"] <= trainer.global_step]

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self._add(trainer, "train/", learning_rates(trainer))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._add(trainer, "val/", {})

    def _add(self, trainer: L.Trainer, prefix: str, more: dict[str, float]) -> None:
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(prefix)} | more
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
