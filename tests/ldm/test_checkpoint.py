"""Weights go to files and come back, strictly."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ldm import checkpoint
from ldm.checkpoint import pretrained, read_weights, write_weights


def model(width: int = 5, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 3))


def test_weights_survive_a_folder_to_half_precision(tmp_path):
    original = model()
    write_weights(tmp_path / "weights", original.state_dict())
    loaded = pretrained(model(seed=1), tmp_path / "weights")
    for name, value in original.state_dict().items():
        ours = loaded.state_dict()[name]
        assert ours.dtype == value.dtype
        torch.testing.assert_close(ours, value, rtol=2**-11, atol=1e-7)


def test_numbers_that_are_not_floating_stay_as_they_are(tmp_path):
    write_weights(tmp_path / "weights", {"count": torch.tensor(123_457), "w": torch.ones(2)})
    weights = read_weights(tmp_path / "weights")
    assert weights["count"].dtype == torch.int64 and weights["count"] == 123_457
    assert weights["w"].dtype == torch.float16


@pytest.mark.parametrize("limit", [1, 40, 100, 10_000])
def test_shards_are_small_none_is_empty_and_together_they_are_all(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", limit)
    weights = {f"w{i:02d}": torch.full((10 + i,), float(i)).half() for i in range(12)}
    write_weights(tmp_path / "weights", weights)
    files = sorted((tmp_path / "weights").iterdir())
    for file in files:
        held = read_weights(file)
        assert len(held) == 1 or 0 < sum(value.nbytes for value in held.values()) <= limit
    back = read_weights(tmp_path / "weights")
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], value) for name, value in weights.items())


def test_a_folder_is_replaced_as_a_whole(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "weights"
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 8)
    write_weights(folder, {f"old{i}": torch.ones(3) for i in range(5)})
    write_weights(folder, {"new": torch.zeros(3)})
    assert read_weights(folder).keys() == {"new"}
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]


def test_an_interrupted_write_leaves_the_old_weights(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    write_weights(folder, {"old": torch.ones(3)})

    def out_of_space(*_) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "save_file", out_of_space)
    with pytest.raises(OSError):
        write_weights(folder, {"new": torch.zeros(3)})
    monkeypatch.undo()
    assert read_weights(folder).keys() == {"old"}
    write_weights(folder, {"new": torch.zeros(3)})
    assert read_weights(folder).keys() == {"new"}


def test_none_leaves_the_module_as_it_was_built():
    module = model()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert pretrained(module, None) is module
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def change(weights: dict, fault: str) -> dict:
    if fault == "missing":
        return {n: v for n, v in weights.items() if not n.startswith("2.")}
    if fault == "unexpected":
        return weights | {"3.weight": torch.ones(1), "4.weight": torch.ones(1)}
    return weights | {"0.weight": torch.ones(1), "0.bias": torch.ones(1)}


@pytest.mark.parametrize(
    ("fault", "example"), [("missing", "2.bias"), ("unexpected", "3.weight"), ("of another shape", "0.bias")]
)
def test_every_disagreement_is_an_error_that_counts_and_changes_nothing(tmp_path, fault, example):
    path, module = tmp_path / "other.safetensors", model()
    save_file(change(model(seed=1).state_dict(), fault), path)
    before = module[0].weight.clone()
    message = f"{path}: 2 tensors {fault}, such as {example}"
    with pytest.raises(ValueError, match=re.escape(message)):
        pretrained(module, path)
    assert torch.equal(module[0].weight, before)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a pickle of old, perhaps", bytes(1000)])
def test_a_file_of_another_format_is_named(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors is not in safetensors format"):
        pretrained(model(), path)


def test_a_truncated_file_is_an_error(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(model().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        read_weights(path)


@pytest.mark.parametrize("name", ["nowhere", "nowhere.safetensors", "empty"])
def test_missing_weights_are_named(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"no weights at .*{name}"):
        pretrained(model(), tmp_path / name)
