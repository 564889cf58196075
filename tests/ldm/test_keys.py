"""Names and shapes of the published 1.4B checkpoint: its weights load strictly, without a mapping table."""

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = json.loads((ROOT / "tests" / "golden" / "keys" / "ldm_txt2img_1p4B.json").read_text())
COUNTS = PUBLISHED["parameter_counts"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> torch.nn.Module:
    nowhere = tmp_path_factory.mktemp("no_vocabulary_here")
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        places = [f"paths.run={nowhere}", f"paths.models={nowhere}"]
        config = compose(overrides=["+paths=default", "+model=ldm_1p4b", *places])
    with torch.device("meta"):
        return instantiate(config.model, _convert_="all")


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_name_shape_and_type_is_the_published_one(model):
    ours = {
        name: [list(value.shape), str(value.dtype).removeprefix("torch.")] for name, value in model.state_dict().items()
    }
    assert len(PUBLISHED["keys"]) == PUBLISHED["num_keys_of_whole_state_dict"] == 1368
    assert ours == PUBLISHED["keys"]


def test_the_buffers_are_the_published_ones(model):
    names = [name for name, _ in model.named_buffers()]
    assert sorted(names) == sorted(PUBLISHED["persistent_buffers"])
    assert set(names) <= model.state_dict().keys()


def test_each_part_has_the_published_number_of_parameters(model):
    first_stage, text = model.first_stage_model, model.cond_stage_model
    assert count(model.unet) == COUNTS["unet (model.diffusion_model.)"]
    assert count(first_stage) == COUNTS["first_stage (first_stage_model.)"]
    assert count(first_stage.encoder) == COUNTS["first_stage encoder"]
    assert count(first_stage.decoder) == COUNTS["first_stage decoder"]
    assert count(text) == COUNTS["cond_stage (cond_stage_model.)"]
    assert count(text.transformer["to_logits"]) == COUNTS["cond_stage to_logits (unused at inference)"]
    assert count(model) == COUNTS["all_parameters"]


def test_all_but_the_first_stage_trains(model):
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == COUNTS["trainable_as_constructed"]
