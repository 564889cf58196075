"""`scripts/fetch.py` with a small model: downloaded files are converted strictly; failed downloads are reported."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from pytorch_lightning.callbacks import ModelCheckpoint

from launch import CONFIGS
from ldm.weights.checkpoint import read_weights
from ldm.weights.diffusers_layout import write_diffusers

SMALL = ["model=ldm_1p4b", "model.config=tiny", "model.name=small", "model.tokenizer=null", "model.bytes=1000"]


@pytest.fixture(scope="module")
def small():
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return instantiate(compose("train", ["experiment=cat_toy", "+model@m=tiny"]).m, _convert_="all")


def put(models, model, source):
    if source == "original":
        content = {
            "state_dict": model.state_dict() | {"model_ema.decay": torch.ones(())},
            "callbacks": {ModelCheckpoint: {}},
        }
        (models / "small").mkdir(parents=True)
        torch.save(content, models / "small" / "original.ckpt")
    else:
        write_diffusers(models / "small" / "hub", model.state_dict())
        (models / "small" / "hub" / "model_index.json").write_text("{}")


@pytest.mark.parametrize("source", ["original", "hub"])
def test_what_is_there_is_converted_once(run_script, tmp_path, small, source):
    put(tmp_path, small, source)
    code, said = run_script("fetch", *SMALL, f"source={source}", f"models={tmp_path}")
    assert code == 0, said
    converted = read_weights(tmp_path / "small" / "model.safetensors")
    own = small.state_dict()
    assert converted.keys() == own.keys() and all(torch.equal(converted[name], own[name]) for name in own)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]  # and no log
    assert "already exists" in run_script("fetch", *SMALL, f"models={tmp_path}")[1]


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        (["model=clip_vit_b32"], ("huggingface.co", "put them into", "clip_vit_b32")),
        ([*SMALL, "source=hub"], ("huggingface.co", "unet/*", "small/hub")),
        ([*SMALL, "source=original", "model.original.urls=[http://127.0.0.1:9/m]"], ("any mirror", "original.ckpt")),
        (["model=clip_vit_b32", "source=original"], ("source=original", "source=hub")),
        ([*SMALL, "model.bytes=1e15"], ("GB free", "free some disk space")),
    ],
)
def test_what_cannot_come_is_said_in_one_sentence(run_script, tmp_path, arguments, sentences):
    code, said = run_script("fetch", *arguments, f"models={tmp_path / 'models'}")
    assert code == 1
    assert all(sentence in said for sentence in sentences) and "Traceback" not in said
    assert not list(tmp_path.rglob("*.safetensors"))
