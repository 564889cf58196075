"""Every experiment that trains a part of the small model takes its first steps."""

import csv

import pytest

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
