"""`scripts/fetch.py` on a small model: what lies where it should is converted strictly; what cannot come is named."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from pytorch_lightning.callbacks import ModelCheckpoint

from ldm.weights.checkpoint import read_weights
from ldm.weights.diffusers_layout import write_diffusers

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["model=ldm_1p4b", "model.config=tiny", "model.name=small", "model.tokenizer=null", "model.bytes=1000"]


def fetch(models, *arguments):
    command = [sys.executable, "scripts/fetch.py", *arguments, f"models={models}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def small():
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
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
def test_what_is_there_is_converted_once(tmp_path, small, source):
    put(tmp_path, small, source)
    done = fetch(tmp_path, *SMALL, f"source={source}")
    assert done.returncode == 0, done.stdout + done.stderr
    converted = read_weights(tmp_path / "small" / "model.safetensors")
    own = small.state_dict()
    assert converted.keys() == own.keys() and all(torch.equal(converted[name], own[name]) for name in own)
    assert "is there already" in fetch(tmp_path, *SMALL).stdout


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        (["model=clip_vit_b32"], ("huggingface.co", "put them into", "clip_vit_b32")),
        ([*SMALL, "source=hub"], ("huggingface.co", "unet/*", "small/hub")),
        ([*SMALL, "source=original", "model.original.urls=[http://127.0.0.1:9/m]"], ("no mirror", "original.ckpt")),
        (["model=clip_vit_b32", "source=original"], ("source=original", "source=hub")),
        ([*SMALL, "model.bytes=1e15"], ("GB free", "make room")),
    ],
)
def test_what_cannot_come_is_said_in_one_sentence(tmp_path, arguments, sentences):
    done = fetch(tmp_path / "models", *arguments)
    assert done.returncode == 1
    assert all(sentence in done.stdout for sentence in sentences) and "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.safetensors"))
