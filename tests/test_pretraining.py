"""Every experiment that trains a part of the small model runs its first steps."""

import csv

import pytest
import torch

from ldm.weights.checkpoint import read_weights

FEW = ["pictures.train.count=4", "pictures.val.count=4", "data.val_size=2", "data.batch_size=2", "trainer.max_steps=2"]


@pytest.mark.filterwarnings("ignore:Found .* in eval mode", "ignore:The .*lr_scheduler.step", "ignore:Detected call of")
@pytest.mark.parametrize("name", ["toyland_ldm_class", "toyland_ldm_mask", "toyland_autoencoder_vq"])
def test_two_steps_and_a_validation(run_script, tmp_path, name):
    folders = [f"paths.cache={tmp_path}/cache", f"hydra.run.dir={tmp_path}/run", "trainer.val_check_interval=2"]
    code, said = run_script("train", f"experiment={name}", *FEW, *folders)
    assert code == 0, said
    with (tmp_path / "run" / "metrics.csv").open(newline="") as table:
        last = list(csv.DictReader(table))[-1]
    assert float(last["step"]) == 2 and any(key.startswith("val/") for key in last)
    assert list((tmp_path / "run" / "weights").glob("*.safetensors"))


def test_it_may_begin_with_the_weights_of_an_earlier_training(run_script, tmp_path):
    """The shipped autoencoder is unchanged after one step with a negligible learning rate."""
    folders = [f"paths.cache={tmp_path}/cache", f"hydra.run.dir={tmp_path}/run", "trainer.val_check_interval=2"]
    start = ["start_from=assets/toyland/autoencoder", "module.optimizer.lr=1e-30"]
    code, said = run_script("train", "experiment=toyland_autoencoder", *FEW, *folders, *start)
    assert code == 0, said
    ours, shipped = (read_weights(f) for f in (tmp_path / "run" / "weights", "assets/toyland/autoencoder"))
    assert ours.keys() == shipped.keys() and all(torch.equal(ours[name], shipped[name]) for name in shipped)
