"""A resumed training obeys its own settings, not those that the checkpoint restores with the state of the optimiser."""

from functools import partial

import pytest
import pytorch_lightning as L
import torch

from ldm.training.autoencoder_loss import AutoencoderLoss
from ldm.training.data import PictureData
from ldm.training.optimization import constant, warmup_cosine
from ldm.training.resumption import Checkpoint

pytestmark = pytest.mark.filterwarnings(r"ignore:Found \d+ module\(s\) in eval mode")

COSINE = partial(warmup_cosine, warmup=3, total=8)
ADAMW = partial(torch.optim.AdamW, lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)


class Watch(L.Callback):
    """Notes the hyper-parameters of every step of the optimiser."""

    def __init__(self):
        self.groups = {}

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        (group,) = optimizer.param_groups
        self.groups[trainer.global_step] = {name: value for name, value in group.items() if name != "params"}


@pytest.fixture
def train(build_autoencoder, pictures, tmp_path):
    """Train up to step `steps` from the state in the folder, if there is one; returns what each step was taken with."""

    def run(steps, optimizer=ADAMW, schedule=COSINE):
        watch, path = Watch(), tmp_path / "last.ckpt"
        trainer = L.Trainer(
            accelerator="cpu", devices=1, max_steps=steps, callbacks=[watch, Checkpoint(str(tmp_path), 100)],
            limit_val_batches=0, logger=False, enable_progress_bar=False, enable_model_summary=False,
            use_distributed_sampler=False, enable_checkpointing=False,
        )  # fmt: skip
        data = PictureData(pictures(), pictures(seed=1), batch_size=4, val_size=3, crop=8)
        module = build_autoencoder(loss=AutoencoderLoss(1e-4, 0.5), optimizer=optimizer, schedule=schedule)
        trainer.fit(module, data, ckpt_path=path if path.exists() else None)
        return watch.groups

    return run


OTHER = {
    "rate": {"optimizer": partial(ADAMW, lr=0.5)},
    "warm-up": {"schedule": partial(warmup_cosine, warmup=6, total=8)},
    "total": {"schedule": partial(warmup_cosine, warmup=3, total=20)},
    "kind of schedule": {"schedule": constant},
    "both": {"optimizer": partial(ADAMW, lr=0.5), "schedule": partial(warmup_cosine, warmup=1, total=20)},
    "moments": {"optimizer": partial(ADAMW, betas=(0.5, 0.6), eps=1e-3)},
    "weight decay": {"optimizer": partial(ADAMW, weight_decay=0.3)},
}


@pytest.mark.parametrize("what", OTHER)
def test_every_later_step_is_taken_with_the_new_settings(train, what):
    settings = {"optimizer": ADAMW, "schedule": COSINE} | OTHER[what]
    assert sorted(train(4)) == [0, 1, 2, 3]
    later = train(6, **settings) | train(8, **settings)
    assert sorted(later) == [4, 5, 6, 7]
    (told,) = settings["optimizer"]([torch.nn.Parameter(torch.zeros(1))]).param_groups
    for step, group in later.items():
        assert group["lr"] == pytest.approx(told["lr"] * settings["schedule"](step), abs=1e-12), step
        assert all(group[name] == told[name] for name in ("betas", "eps", "weight_decay")), step
