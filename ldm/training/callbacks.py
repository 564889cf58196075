"""Callbacks that write images, metrics and the averaged weights during training."""

import csv
import io
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as L

from ..files import write_whole
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
    """At every validation, writes one image per prompt, from the same noise each time: `folder`/samples-<step>.png.
    `prompts` are values of the model's kind of condition. Masks, boolean [H, W], are shown above their images."""

    def __init__(
        self, folder: str, prompts: list[Any], sampler: Sampler, guidance: float = 4.0, columns: int = 6
    ) -> None:
        self.folder, self.prompts = Path(folder), prompts
        self.sampler, self.guidance, self.columns = sampler, guidance, columns

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: LatentDiffusion) -> None:
        if trainer.is_global_zero:
            noise = partial(pl_module.noise, 0, range(len(self.prompts)))
            c = pl_module.cond_stage_model(self.prompts)
            images = to_uint8(pl_module.sample(c, noise(), self.sampler, self.guidance, noise))
            rows = []
            for i in range(0, len(images), self.columns):
                if isinstance(self.prompts[i], np.ndarray):
                    masks = np.stack(self.prompts[i : i + self.columns])
                    rows.append(np.repeat(masks[..., None] * np.uint8(255), 3, axis=-1))
                rows.append(images[i : i + self.columns])
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
    validation. A row is appended; the file is written anew only when a metric appears for the first time. A resumed run
    goes on with the file and first drops rows past the step it resumes from, and what a killed process has left of a
    row, so each step appears once. Written by hand, since Lightning's CSVLogger deletes the rows from before the
    interruption."""

    def __init__(self, path: str, every: int = 50) -> None:
        self.path, self.every = Path(path), every
        self.columns: list[str] = []
        self.last: dict[str, str] = {}  # the row of the last step
        self.start_of_last = 0  # bytes

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the rows of the interrupted run. In on_fit_start, Lightning has not restored the step yet."""
        if trainer.is_global_zero:
            rows = [row for row in read_rows(self.path) if float(row["step"]) <= trainer.global_step]
            self.columns, self.last = [], {}
            if trainer.global_step and rows:
                self._write(rows)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self._add(trainer, "train/", learning_rates(trainer))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._add(trainer, "val/", {})

    def _add(self, trainer: L.Trainer, prefix: str, more: dict[str, float]) -> None:
        if not trainer.is_global_zero:
            return
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(prefix)} | more
        step = str(trainer.global_step)
        again = self.last.get("step") == step
        row = (self.last if again else {"step": step}) | {name: f"{value:.6g}" for name, value in metrics.items()}
        if not row.keys() <= set(self.columns) or not self.path.is_file():
            before = read_rows(self.path) if self.columns else []
            self._write([*(before[:-1] if again else before), row])
            return
        with self.path.open("r+b") as file:
            self.start_of_last = file.seek(self.start_of_last) if again else file.seek(0, os.SEEK_END)
            file.truncate()
            file.write(self._line(row))
            file.flush()
            os.fsync(file.fileno())
        self.last = row

    def _write(self, rows: list[dict[str, str]]) -> None:
        self.columns = list(dict.fromkeys(name for row in rows for name in row))
        lines = [self._line(dict(zip(self.columns, self.columns, strict=True))), *map(self._line, rows)]
        write_whole(self.path, b"".join(lines))
        self.last, self.start_of_last = rows[-1], sum(map(len, lines[:-1]))

    def _line(self, row: dict[str, str]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerow([row.get(name, "") for name in self.columns])
        return text.getvalue().encode()


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of metrics without their empty fields. Rows that are broken, or not written to their
    end, are left out; so are all if the file cannot be read."""
    try:
        lines = path.read_bytes().decode(errors="replace").splitlines(keepends=True)
        rows = list(csv.DictReader(line for line in lines if line.endswith("\n")))
    except (OSError, csv.Error):
        return []
    return [{name: value for name, value in row.items() if value} for row in rows if _is_whole(row)]


def _is_whole(row: dict[Any, Any]) -> bool:
    """Whether every field of a row is a number or empty, and its step is a number."""
    try:
        return None not in row and bool([float(value) for value in row.values() if value]) and float(row["step"]) >= 0
    except (KeyError, TypeError, ValueError):
        return False
