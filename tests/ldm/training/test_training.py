"""Both stages under Lightning: a run that is killed and resumed equals an uninterrupted run, bit for bit."""

import csv
from functools import partial
from pathlib import Path
from statistics import mean

import pytest
import pytorch_lightning as L
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from ldm.schedule import TABLES
from ldm.training.autoencoder_loss import AutoencoderLoss, PatchDiscriminator, PerceptualDistance
from ldm.training.callbacks import MetricsTable, Weights
from ldm.training.data import PictureData
from ldm.training.ema import EMA
from ldm.training.latents import LatentData
from ldm.training.optimization import warmup_cosine
from ldm.weights.checkpoint import read_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),  # expected when resuming
    pytest.mark.filterwarnings(r"ignore:Found \d+ module\(s\) in eval mode"),  # the frozen first stage
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
]
RATE = partial(torch.optim.AdamW, lr=1e-2)


@pytest.fixture
def autoencoder(build_autoencoder, pictures):
    """Build the first stage and its data, as each new process does."""

    def build(folder: Path, steps: int):
        loss = AutoencoderLoss(kl_weight=1e-4, gradient_weight=0.5)
        schedule = partial(warmup_cosine, warmup=2, total=steps)
        data = PictureData(pictures(), pictures(seed=1), batch_size=4, val_size=3, crop=8)
        return build_autoencoder(loss=loss, optimizer=RATE, schedule=schedule), data

    return build


@pytest.fixture
def decoder(build_autoencoder, pictures):
    """Build the second training of the first stage: the decoder alone, with a discriminator."""

    def build(folder: Path, steps: int):
        torch.manual_seed(0)
        sees = PerceptualDistance(torch.nn.Conv2d(3, 4, 3), lambda network, x: [network(x)])
        loss = AutoencoderLoss(1e-4, 0.5, sees, 0.1, PatchDiscriminator(8, 2), 0.01)
        data = PictureData(pictures(), pictures(seed=1), batch_size=4, val_size=3, crop=8)
        return build_autoencoder(loss=loss, optimizer=RATE, fixed_latents=True), data

    return build


@pytest.fixture
def diffusion(build_autoencoder, build_ldm, pictures):
    """Build the diffusion model and its data."""

    def build(folder: Path, steps: int):
        first_stage, schedule = build_autoencoder(), partial(warmup_cosine, warmup=2, total=steps)
        data = LatentData(pictures(), pictures(seed=1), first_stage, folder / "latents", batch_size=4, val_size=3)
        ldm = build_ldm(first_stage=first_stage, scale_factor=2.0, optimizer=RATE, schedule=schedule, min_snr_gamma=5.0)
        return ldm, data

    return build


@pytest.fixture(params=["autoencoder", "decoder", "diffusion"])
def build(request):
    return request.getfixturevalue(request.param)


def fit(build, folder: Path, steps: int, every: int = 2, stop: int | None = None, resume: bool = False):
    """Train in `folder` for `steps` steps; validate and save after every `every` steps. `stop` ends it early, without
    saving. Returns the module and the average of its weights."""
    module, data = build(folder, steps)
    ema = EMA(decay=0.9)
    callbacks = [ema, MetricsTable(folder / "metrics.csv", every=1), Weights(str(folder / "weights"))]
    save = ModelCheckpoint(folder, filename="last", every_n_train_steps=every, enable_version_counter=False)
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_steps=stop or steps, callbacks=[*callbacks, save],
        val_check_interval=every, check_val_every_n_epoch=None, num_sanity_val_steps=0, log_every_n_steps=1,
        logger=False, enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, data, ckpt_path=folder / "last.ckpt" if resume else None)
    assert trainer.global_step == (stop or steps)
    return module, ema.average


def equal(ours: dict, theirs: dict) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("stop", [2, 3])
def test_a_resumed_run_equals_one_that_was_not_interrupted(build, tmp_path, stop):
    whole, whole_average = fit(build, tmp_path / "whole", 6)
    fit(build, tmp_path / "parts", 6, stop=stop)
    parts, parts_average = fit(build, tmp_path / "parts", 6, resume=True)
    assert equal(parts.state_dict(), whole.state_dict())
    assert equal(parts_average, whole_average)
    assert not equal(whole_average, {n: p for n, p in whole.named_parameters() if p.requires_grad})
    tables = [(tmp_path / run / "metrics.csv").read_text() for run in ("whole", "parts")]
    assert tables[0] == tables[1] and tables[0].count("\n") == 1 + 6


def test_the_written_weights_are_the_average_and_frozen_ones_do_not_move(build, tmp_path):
    before = {name: value.clone() for name, value in build(tmp_path, 4)[0].state_dict().items()}
    module, average = fit(build, tmp_path, 4)
    written = read_weights(tmp_path / "weights")
    assert written.keys() == {name for name in before if not name.startswith("loss.") and name not in TABLES}
    for name, value in written.items():
        assert torch.equal(value, average.get(name, before[name]).half()), name
    after = module.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before.keys() - average.keys())


def test_the_loss_falls_on_a_tiny_world(build, tmp_path):
    fit(build, tmp_path, 40, every=20)
    with (tmp_path / "metrics.csv").open(newline="") as table:
        losses = [float(row["train/loss"]) for row in csv.DictReader(table)]
    assert len(losses) == 40
    assert mean(losses[-10:]) < 0.9 * mean(losses[:3])
