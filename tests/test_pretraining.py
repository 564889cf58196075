"""Every experiment that trains a part of the small model runs its first steps."""

import csv

import pytest
import torch

from ldm.training.resumption import read_state
from ldm.weights.checkpoint import part_for, read_weights

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


@pytest.mark.integration
def test_it_may_begin_with_the_weights_of_an_earlier_training(run_script, tmp_path):
    """The autoencoder of the shipped model is unchanged after one step with a negligible learning rate."""
    folders = [f"paths.cache={tmp_path}/cache", f"hydra.run.dir={tmp_path}/run", "trainer.val_check_interval=2"]
    start = ["start_from=assets/toyland/ldm", "module.optimizer.lr=1e-30"]
    code, said = run_script("train", "experiment=toyland_autoencoder", *FEW, *folders, *start)
    assert code == 0, said
    ours, shipped = (read_weights(f) for f in (tmp_path / "run" / "weights", "assets/toyland/ldm"))
    shipped = part_for(ours, shipped)
    assert ours.keys() == shipped.keys() and all(torch.equal(ours[name], shipped[name]) for name in shipped)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Found .* in eval mode", "ignore:The .*lr_scheduler.step", "ignore:Detected call of")
def test_it_goes_on_with_an_accepted_rate_and_schedule(run_script, tmp_path):
    folders = [f"paths.cache={tmp_path}/cache", f"hydra.run.dir={tmp_path}/run", "trainer.val_check_interval=2"]
    job = ["experiment=toyland_autoencoder_vq", *FEW, *folders, "+callbacks.metrics.every=1"]
    code, said = run_script("train", *job)
    assert code == 0, said
    other = ["trainer.max_steps=4", "module.optimizer.lr=0.25", "module.schedule.warmup=8"]
    code, said = run_script("train", *job, *other)
    assert code == 1 and "resume.accept=[module.optimizer.lr,module.schedule.warmup]" in said, said
    sgd = ["module.optimizer={_target_: torch.optim.SGD, _partial_: true, lr: 0.1}", "resume.accept=[module.optimizer]"]
    code, said = run_script("train", *job, *sgd)
    assert code == 1 and "another kind of optimiser" in said and "resume=null" in said and "bug" not in said, said
    code, said = run_script("train", *job, *other, "resume.accept=[module.optimizer,module.schedule]")
    assert code == 0, said
    with (tmp_path / "run" / "metrics.csv").open(newline="") as table:
        rates = [float(row["lr"]) for row in csv.DictReader(table)]
    assert rates[2:] == [0.25 * 4 / 8, 0.25 * 5 / 8]  # the next step's
    (changed,) = read_state(tmp_path / "run" / "last.ckpt")["changes"]
    assert changed["step"] == 2 and changed["module.optimizer.lr"][1] == 0.25
