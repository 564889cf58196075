"""The output of training: sheets of images, one table of metrics across resumed runs, and weights."""

import csv
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ldm.images import to_tensor, to_uint8
from ldm.sampling import Sampler, ddim
from ldm.training.callbacks import MetricsTable, ReconstructionGrid, SampleGrid, Weights
from ldm.weights.checkpoint import read_weights


def trainer(step: int = 0, sanity_checking: bool = False, **metrics: float) -> SimpleNamespace:
    metrics = {name.replace("_", "/", 1): torch.tensor(value) for name, value in metrics.items()}
    return SimpleNamespace(
        global_step=step, sanity_checking=sanity_checking, callback_metrics=metrics, is_global_zero=True,
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.01}])],
    )  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_every_so_many_steps_and_at_each_validation(tmp_path):
    path = tmp_path / "run" / "metrics.csv"
    table = MetricsTable(path, every=2)
    table.on_train_start(trainer(), None)
    for step in range(1, 6):
        table.on_train_batch_end(trainer(step, train_loss=1 / step, val_old=9.0), None)
    table.on_validation_end(trainer(5, val_psnr=20.0, train_loss=0.2), None)
    table.on_validation_end(trainer(5, sanity_checking=True, val_psnr=99.0), None)
    assert read(path) == [
        {"step": "2", "train/loss": "0.5", "lr": "0.01", "val/psnr": ""},
        {"step": "4", "train/loss": "0.25", "lr": "0.01", "val/psnr": ""},
        {"step": "5", "train/loss": "", "lr": "", "val/psnr": "20"},
    ]


def test_a_step_that_trains_and_validates_is_one_row(tmp_path):
    table = MetricsTable(tmp_path / "metrics.csv", every=1)
    table.on_train_batch_end(trainer(1, train_loss=0.5), None)
    table.on_validation_end(trainer(1, train_loss=0.5, val_psnr=20.0), None)
    assert read(tmp_path / "metrics.csv") == [{"step": "1", "train/loss": "0.5", "lr": "0.01", "val/psnr": "20"}]


def run(path: Path, start: int, stop: int) -> None:
    """Simulate a process that trains from step `start` (of its checkpoint) to `stop` and validates every second
    step."""
    table = MetricsTable(path, every=1)
    table.on_train_start(trainer(start), None)
    for step in range(start + 1, stop + 1):
        table.on_train_batch_end(trainer(step, train_loss=1 / step), None)
        if step % 2 == 0:
            table.on_validation_end(trainer(step, val_psnr=10.0 + step / 7), None)


@pytest.mark.parametrize(("checkpoint", "killed"), [(4, 4), (4, 7), (2, 3), (4, 8)])
def test_on_resume_every_step_appears_once_as_if_nothing_had_happened(tmp_path, checkpoint, killed):
    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
    run(whole, 0, 10)
    run(parts, 0, killed)
    run(parts, checkpoint, 10)
    assert parts.read_text() == whole.read_text()
    assert [row["step"] for row in read(parts)] == [str(step) for step in range(1, 11)]


def test_a_run_that_starts_anew_starts_a_new_table(tmp_path):
    path = tmp_path / "metrics.csv"
    run(path, 0, 6)
    run(path, 0, 2)
    assert [row["step"] for row in read(path)] == ["1", "2"]


def test_resuming_without_a_table_begins_one(tmp_path):
    run(tmp_path / "metrics.csv", 4, 6)
    assert [row["step"] for row in read(tmp_path / "metrics.csv")] == ["5", "6"]


def test_the_weights_are_written_at_validation_but_not_in_a_sanity_check(tmp_path, build_autoencoder):
    model, folder = build_autoencoder(), tmp_path / "weights"
    Weights(str(folder)).on_validation_epoch_end(trainer(sanity_checking=True), model)
    assert not folder.exists()
    Weights(str(folder)).on_validation_epoch_end(trainer(5), model)
    written = read_weights(folder)
    assert written.keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name].half()) for name, value in written.items())


def test_reconstructions_of_the_first_batch_stand_below_their_pictures(tmp_path, build_autoencoder, pictures):
    images, model = pictures().images, build_autoencoder()
    sheets = ReconstructionGrid(str(tmp_path), count=3)
    with torch.no_grad():
        for batch_idx in range(2):
            batch = {"image": to_tensor(images)}
            sheets.on_validation_batch_end(trainer(40), model, None, batch, batch_idx)
    assert [path.name for path in tmp_path.iterdir()] == ["reconstructions-000040.png"]
    sheet = np.asarray(Image.open(tmp_path / "reconstructions-000040.png"))
    assert sheet.shape == (2 * 18, 3 * 18, 3)
    with torch.no_grad():
        reconstructions = to_uint8(model.decode(model.encode(to_tensor(images[:3])).mean))
    for i in range(3):
        column = slice(18 * i, 18 * i + 16)
        assert (sheet[:16, column] == images[i]).all() and (sheet[18:34, column] == reconstructions[i]).all()


@pytest.mark.parametrize("sampler", [Sampler(2), Sampler(2, partial(ddim, eta=1.0))], ids=lambda sampler: sampler.name)
def test_samples_come_from_the_same_noise_each_time(tmp_path, tiny_ldm, sampler):
    sheets = SampleGrid(str(tmp_path), ["a red cat", "a dog", "a blue owl"], sampler, guidance=3.0, columns=2)
    for step in (40, 80):
        sheets.on_validation_epoch_end(trainer(step), tiny_ldm)
    first, second = (np.asarray(Image.open(tmp_path / f"samples-{step:06d}.png")) for step in (40, 80))
    assert first.shape == (2 * 18, 2 * 18, 3)
    assert (first == second).all()
