"""A progress bar over optimiser steps: losses, steps/s and time left, also for an endless stream of batches."""

from typing import Any

import pytorch_lightning as L
from pytorch_lightning.callbacks import TQDMProgressBar
from tqdm import tqdm


class StepProgress(TQDMProgressBar):
    """Counts from the resumed step to `max_steps`; validation runs without a bar of its own."""

    def init_train_tqdm(self) -> tqdm:
        return tqdm(
            desc="train", disable=self.is_disabled, dynamic_ncols=True, smoothing=0.05, unit="step", mininterval=0.5
        )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        bar = self.train_progress_bar = self.init_train_tqdm()
        bar.reset(total=trainer.max_steps)
        bar.initial = bar.n = bar.last_print_n = trainer.global_step  # else the steps before count as just done

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """The epochs of an endless stream mean nothing: keep the bar."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        bar = self.train_progress_bar
        bar.update(trainer.global_step - bar.n)
        if trainer.global_step % 10 == 0:
            bar.set_postfix({k: f"{float(v):.4g}" for k, v in trainer.progress_bar_metrics.items()}, refresh=False)

    def on_train_epoch_end(self, *_: Any) -> None: ...

    def init_validation_tqdm(self) -> tqdm:
        return tqdm(disable=True)

    def init_sanity_tqdm(self) -> tqdm:
        return tqdm(disable=True)
