"""Weights are saved to files and loaded strictly."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ldm.errors import UserError
from ldm.weights import checkpoint
from ldm.weights.checkpoint import load_as_stored, load_weights, read_weights, write_weights


def model(width: int = 5, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 3))


def test_weights_survive_a_folder_to_half_precision(tmp_path):
    original = model()
    write_weights(tmp_path / "weights", original.state_dict())
    loaded = load_weights(model(seed=1), tmp_path / "weights")
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
    assert load_weights(module, None) is module
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def change(weights: dict, fault: str) -> dict:
    if fault == "missing":
        return {n: v for n, v in weights.items() if not n.startswith("2.")}
    if fault == "unexpected":
        return weights | {"3.weight": torch.ones(1), "4.weight": torch.ones(1)}
    return weights | {"0.weight": torch.ones(1), "0.bias": torch.ones(1)}


@pytest.mark.parametrize(
    ("fault", "example"), [("missing", "2.bias"), ("unexpected", "3.weight"), ("with a different shape", "0.bias")]
)
def test_every_disagreement_is_an_error_that_counts_and_changes_nothing(tmp_path, fault, example):
    path, module = tmp_path / "other.safetensors", model()
    save_file(change(model(seed=1).state_dict(), fault), path)
    before = module[0].weight.clone()
    message = f"{path} does not fit this model: 2 tensors {fault}, such as {example}"
    with pytest.raises(ValueError, match=re.escape(message)):
        load_weights(module, path)
    assert torch.equal(module[0].weight, before)


@pytest.mark.parametrize("part", ["model.diffusion_model.", "first_stage_model.", "cond_stage_model."])
def test_a_part_is_read_from_a_whole_model(tmp_path, part):
    path, original = tmp_path / "model.safetensors", model()
    whole = {part + name: value for name, value in original.state_dict().items()}
    save_file(whole | {"another.weight": torch.ones(1)}, path)
    loaded = load_weights(model(seed=1), path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in original.state_dict().items())
    save_file({name: value for name, value in whole.items() if not name.startswith(part + "2.")}, path)
    with pytest.raises(UserError, match="2 tensors missing, such as 2"):
        load_weights(model(), path)


def test_a_truncated_file_is_an_error(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(model().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="damaged or truncated"):
        read_weights(path)


def save_published(weights: dict, path: Path) -> None:
    torch.save({"state_dict": weights, "epoch": 3}, path)


@pytest.mark.parametrize("name", ["model.safetensors", "model.ckpt", "model.CKPT", "model.txt"])
@pytest.mark.parametrize(
    "save", [save_file, torch.save, lambda weights, path: torch.save({"state_dict": weights}, path)]
)
def test_content_decides_and_not_the_suffix(tmp_path, name, save):
    original = model()
    save(original.state_dict(), tmp_path / name)
    loaded = load_weights(model(seed=1), tmp_path / name)
    for key, value in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_what_published_files_hold_beside_the_model_is_left_out_and_said(tmp_path, caplog):
    beside = {"model_ema.decay": torch.ones(()), "loss.logvar": torch.ones(()), "text.position_ids": torch.arange(3)}
    save_file(model().state_dict() | beside, tmp_path / "model.safetensors")
    with caplog.at_level("INFO"):
        load_weights(model(), tmp_path / "model.safetensors")
    assert all(f"1 x {prefix}" in caplog.text for prefix in ("model_ema", "loss", "text"))


def test_position_ids_may_be_missing(tmp_path):
    class Positions(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.register_buffer("position_ids", torch.arange(3))

    save_file(nn.Linear(2, 2).state_dict(), tmp_path / "model.safetensors")
    assert load_weights(Positions(), tmp_path / "model.safetensors").position_ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, number):
    weights = model().state_dict() | {"2.bias": torch.tensor([0.0, number, 1.0])}
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors: 2\.bias contains NaN or infinite values"):
        load_weights(model(), tmp_path / "model.safetensors")


def test_a_module_on_the_meta_device_takes_weights_and_keeps_what_trains(tmp_path):
    original = model()
    save_file(original.state_dict(), tmp_path / "model.safetensors")
    with torch.device("meta"):
        module = model()
    module[0].requires_grad_(False)
    load_weights(module, tmp_path / "model.safetensors").eval()
    x = torch.randn(3, 4)
    assert torch.equal(module(x), original.eval()(x))
    assert [p.requires_grad for p in module.parameters()] == [False] * 2 + [True] * 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("save", [save_file, torch.save])
def test_a_model_to_be_frozen_keeps_the_precision_of_its_file(tmp_path, save, dtype):
    stored = {name: value.to(dtype) for name, value in nn.Linear(4, 3).state_dict().items()}
    save(stored, tmp_path / "weights")
    loaded = load_as_stored(lambda: nn.Linear(4, 3), tmp_path / "weights").state_dict()
    assert all(loaded[name].dtype == dtype and torch.equal(loaded[name], value) for name, value in stored.items())


def test_buffers_of_a_model_to_be_frozen_have_their_own_precision(tmp_path):
    write_weights(tmp_path / "weights", model().state_dict())
    loaded = load_as_stored(model, tmp_path / "weights")
    assert loaded[0].weight.dtype == torch.float16 and loaded[1].running_var.dtype == torch.float32


@pytest.mark.parametrize("mapped_bytes", [1, 100, 1 << 20])
@pytest.mark.parametrize("save", [save_file, torch.save])
def test_loaded_tensors_do_not_depend_on_the_file_any_more(tmp_path, monkeypatch, save, mapped_bytes):
    monkeypatch.setattr(checkpoint, "MAPPED_BYTES", mapped_bytes)
    path, original = tmp_path / "weights", model()
    save(original.state_dict(), path)
    for loaded in (load_weights(model(seed=1), path), load_as_stored(model, path)):
        for name, value in original.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value)
    with path.open("r+b") as file:  # a file that is mapped would change the model with it
        file.write(b"\0" * path.stat().st_size)
    for name, value in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.parametrize("name", ["nowhere", "nowhere.safetensors", "empty"])
def test_missing_weights_are_named(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"no weights at .*{name}"):
        load_weights(model(), tmp_path / name)


@pytest.mark.parametrize("name", ["weights", "weights.partial"])
def test_a_folder_with_anything_else_in_it_is_not_replaced(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"thesis\.txt, which new weights would delete"):
        write_weights(tmp_path / "weights", {"w": torch.ones(2)})
    assert (tmp_path / name / "thesis.txt").read_text() == "years of work"
