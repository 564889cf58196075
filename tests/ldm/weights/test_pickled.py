"""Tensors are loaded from pickled files, and nothing that the files name is ever imported or called."""

import os
import pickle
import sys
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from ldm.weights.pickled import load_pickled
from ldm.weights.plain_values import Skipped


class Hostile:
    """An object that runs a program when it is unpickled in the usual way."""

    def __init__(self, call, *args) -> None:
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


LEGACY = pytest.mark.parametrize("legacy", [False, True])


@LEGACY
@pytest.mark.parametrize("name", ["a.pt", "a.ckpt", "a.bin", "a.safetensors", "a.PT", "a.CkPt", "a"])
def test_a_hostile_file_executes_nothing_under_any_name(tmp_path, legacy, name):
    trap = tmp_path / "trap"
    traps = [(os.system, f"touch {trap}"), (exec, f"open({str(trap)!r}, 'w')"), (os.mkdir, str(trap))]
    for call, argument in traps:
        content = {"state_dict": {"w": torch.ones(2)}, "extra": Hostile(call, argument)}
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ValueError, match=rf"{name} asks for \w+\.\w+, which no weights need"):
            load_pickled(tmp_path / name)
        assert not trap.exists()


def test_a_bare_hostile_pickle_executes_nothing(tmp_path):
    (tmp_path / "a.bin").write_bytes(pickle.dumps(Hostile(os.mkdir, str(tmp_path / "trap"))))
    with pytest.raises(ValueError, match="which no weights need"):
        load_pickled(tmp_path / "a.bin")
    assert not (tmp_path / "trap").exists()


@LEGACY
def test_training_callbacks_are_skipped_and_tensors_are_exact(tmp_path, legacy):
    weights = OrderedDict(a=torch.randn(3, 4), b=torch.arange(5), c=torch.randn(2).half(), d=torch.tensor(3.0))
    content = {
        "epoch": 3,
        "state_dict": weights,
        "callbacks": {ModelCheckpoint: {"best_model_score": np.float64(1.5), "path": "x"}},
    }
    torch.save(content, tmp_path / "a.ckpt", _use_new_zipfile_serialization=not legacy)
    loaded = load_pickled(tmp_path / "a.ckpt")
    assert loaded["epoch"] == 3 and [type(key) for key in loaded["callbacks"]] == [Skipped]
    for name, value in weights.items():
        assert loaded["state_dict"][name].dtype == value.dtype and torch.equal(loaded["state_dict"][name], value)


@LEGACY
def test_skipped_packages_need_not_be_there(tmp_path, monkeypatch, legacy):
    """A checkpoint may name modules that are not installed."""
    name = "pytorch_lightning.removed"
    removed = type("Removed", (), {"__module__": name})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, name, SimpleNamespace(Removed=removed))
        content = {"state_dict": {"w": torch.ones(2)}, "callbacks": [removed()]}
        torch.save(content, tmp_path / "a.ckpt", _use_new_zipfile_serialization=not legacy)
    loaded = load_pickled(tmp_path / "a.ckpt")
    assert torch.equal(loaded["state_dict"]["w"], torch.ones(2)) and isinstance(loaded["callbacks"][0], Skipped)
    assert name not in sys.modules


@LEGACY
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_truncated_file_is_an_error(tmp_path, legacy, share):
    path = tmp_path / "a.ckpt"
    torch.save({"w": torch.randn(100)}, path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"a\.ckpt is (damaged or )?truncated"):
        load_pickled(path)
