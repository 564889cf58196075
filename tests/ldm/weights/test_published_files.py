"""Weights are found and read in the forms in which people publish them."""

import json
from argparse import Namespace
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import nn

from ldm.errors import UserError
from ldm.modules.clip_text import CLIPTextEncoder
from ldm.weights.checkpoint import load_weights, read_weights
from ldm.weights.diffusers_layout import read_part

WEIGHTS = {"0.weight": torch.arange(12.0).view(3, 4), "0.bias": torch.ones(3)}


def same(found, expected=WEIGHTS):
    return found.keys() == expected.keys() and all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "setting",
    [
        OmegaConf.create({"lr": 0.1, "betas": [0.9, 0.99], "node": {"text": "x", "none": None}}),
        Counter("aab"), defaultdict(list, {"a": [1]}), Path("runs/x"), Namespace(lr=0.1), datetime(2024, 1, 5),
        torch.device("cuda", 0), {"a", "b"}, (1, (2.5, None)), b"bytes", slice(1, 2), complex(1, 2), torch.float16,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_hyperparameters_of_any_kind_do_not_matter(tmp_path, setting, legacy):
    content = {"hyper_parameters": {"it": setting, "again": [setting]}, "state_dict": WEIGHTS}
    torch.save(content, tmp_path / "model.ckpt", _use_new_zipfile_serialization=not legacy)
    assert same(read_weights(tmp_path / "model.ckpt"))


@pytest.mark.parametrize("content", [WEIGHTS, {"state_dict": WEIGHTS}, {"model": WEIGHTS, "step": 3}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_tables_and_prefixes_of_training_code(tmp_path, content, prefix):
    table = next((content[key] for key in ("state_dict", "model") if key in content), content)
    named = {prefix + name: value for name, value in table.items()}
    saved = named if table is content else {**content, next(iter(content)): named}
    torch.save(saved, tmp_path / "model.pt")
    assert same(read_weights(tmp_path / "model.pt"))
    loaded = load_weights(nn.Sequential(nn.Linear(4, 3)), tmp_path / "model.pt")
    assert same(loaded.state_dict())


def clip() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"cond_stage_model": CLIPTextEncoder("nowhere", 20, 8, 1, 2, 16, 7)})


EXTRAS = ("vision_model.post_layernorm.weight", "visual_projection.weight", "text_projection.weight", "logit_scale")


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("extras", [(), EXTRAS])
def test_clip_of_every_transformers_and_with_its_other_half(tmp_path, prefix, extras):
    original = clip().state_dict()
    start = "cond_stage_model.transformer."
    named = {name if prefix else name.replace(f"{start}text_model.", start): value for name, value in original.items()}
    save_file(named | {start + name: torch.ones(1) for name in extras}, tmp_path / "model.safetensors")
    torch.manual_seed(1)
    loaded = load_weights(
        nn.ModuleDict({"cond_stage_model": CLIPTextEncoder("x", 20, 8, 1, 2, 16, 7)}), tmp_path / "model.safetensors"
    )
    assert same(loaded.state_dict(), original)


NAMES = ["diffusion_pytorch_model", "model", "pytorch_model"]


@pytest.mark.parametrize("stem", NAMES)
@pytest.mark.parametrize("variant", ["", ".fp16", ".non_ema"])
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_part_of_a_pipeline_in_one_file_or_in_shards(tmp_path, stem, variant, suffix):
    save = save_file if suffix == ".safetensors" else torch.save
    for folder in ("one", "shards"):
        (tmp_path / folder).mkdir()
    save(WEIGHTS, tmp_path / "one" / f"{stem}{variant}{suffix}")
    assert same(read_part(tmp_path / "one"))
    shards = {name: f"{stem}{variant}-0000{i}-of-00002{suffix}" for i, name in enumerate(WEIGHTS, start=1)}
    for name, file in shards.items():
        save({name: WEIGHTS[name]}, tmp_path / "shards" / file)
    index = tmp_path / "shards" / f"{stem}{suffix}.index{variant}.json"
    index.write_text(json.dumps({"metadata": {"total_size": 60}, "weight_map": shards}))
    assert same(read_part(tmp_path / "shards"))
    (tmp_path / "shards" / shards["0.bias"]).unlink()
    with pytest.raises(UserError, match=f"has no {shards['0.bias']}, which .* names: the download is incomplete"):
        read_part(tmp_path / "shards")


def test_the_full_weights_are_preferred_to_their_variants(tmp_path):
    for variant in ("", ".fp16", ".non_ema"):
        save_file({"w": torch.full((1,), float(len(variant)))}, tmp_path / f"model{variant}.safetensors")
    for expected in (0, 5, 8):
        assert read_part(tmp_path)["w"].item() == expected
        (tmp_path / f"model{['', '.fp16', '.non_ema'][[0, 5, 8].index(expected)]}.safetensors").unlink()
    with pytest.raises(UserError, match="the download is incomplete"):
        read_part(tmp_path)
    (tmp_path / "openvino_model.xml").touch()
    with pytest.raises(UserError, match=r"has no weights called .*: only openvino_model\.xml"):
        read_part(tmp_path)


@pytest.mark.parametrize(
    "index",
    ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {}}', '{"weight_map": {"a": 3}}', '{"weight_map": {"a": []}}',
     '{"weight_map": {"a": "../secret.safetensors"}}', '{"weight_map": {"a": "/etc/passwd"}}', "[" * 100_000],
)  # fmt: skip
def test_a_broken_index_and_one_that_names_other_places_are_refused(tmp_path, index):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UserError, match=r"index\.json is damaged or no index of weights"):
        read_part(tmp_path)
