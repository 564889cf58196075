"""The bar counts optimiser steps, from where the run goes on to where it ends."""

from types import SimpleNamespace

import pytest

from ldm.training.progress import StepProgress


@pytest.mark.parametrize("start", [0, 4])
def test_the_bar_goes_from_the_resumed_step_to_the_last(start):
    progress, trainer = StepProgress(), SimpleNamespace(max_steps=10, global_step=start, progress_bar_metrics={})
    progress.on_train_start(trainer, None)
    bar = progress.train_progress_bar
    assert (bar.initial, bar.n, bar.last_print_n, bar.total) == (start, start, start, 10)
    for step in range(start + 1, 11):
        trainer.global_step = step
        progress.on_train_batch_end(trainer, None)
        progress.on_train_epoch_start(trainer)  # an endless stream has no epochs: nothing starts again
        assert bar.n == step
    bar.close()


def test_the_metrics_of_the_module_stand_beside_it():
    progress = StepProgress()
    trainer = SimpleNamespace(max_steps=20, global_step=0, progress_bar_metrics={"train/loss": 0.123456})
    progress.on_train_start(trainer, None)
    trainer.global_step = 10
    progress.on_train_batch_end(trainer, None)
    assert "train/loss=0.1235" in progress.train_progress_bar.postfix
    progress.train_progress_bar.close()
