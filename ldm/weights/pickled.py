"""Tensors out of torch's pickled files without importing or calling anything that such a file names: published
checkpoints carry training callbacks, and a hostile one could carry any program."""

import pickle
import warnings
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import _utils
from torch.serialization import SourceChangeWarning

from .file_kind import file_kind

_DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()


class Skipped:
    """Stands for an object beside the tensors. It takes the contents that unpickling gives it and does nothing with
    them; `state` is what the object would have been restored from."""

    state: Any = None
    dump_patches = False  # torch.load asks the classes of modules in old files

    def __new__(cls, *args: Any, **kwargs: Any) -> "Skipped":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass

    def add(self, value: Any) -> None:
        pass


class NotWeights(ValueError):
    """A file asks for something that no file of weights needs."""


def _parameter(data: torch.Tensor, requires_grad: bool, hooks: Any) -> torch.Tensor:
    return data


# All that may ever be called. Storages are torch.load's own business: it takes them by name from a fixed list.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): _utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.nn.modules.container", "ParameterDict"): Skipped,
    ("_codecs", "encode"): Skipped,  # numpy's numbers are written with it
    **{("torch", name): getattr(torch, name) for name in _DTYPES},
}
# Packages whose objects published checkpoints carry beside the tensors.
_SKIPPED_PACKAGES = frozenset(("pytorch_lightning", "lightning", "lightning_fabric", "omegaconf", "numpy"))


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        allowed = _ALLOWED.get((module_name, global_name))
        if allowed is not None:
            return allowed
        if module_name.split(".")[0] in _SKIPPED_PACKAGES:
            return Skipped
        raise NotWeights(f"asks for {module_name}.{global_name}, which no weights need: nothing of it was run")


def _load(file: Any, **kwargs: Any) -> Any:
    return _TensorUnpickler(file, **kwargs).load()


_TENSORS_ONLY = SimpleNamespace(Unpickler=_TensorUnpickler, load=_load, __name__="tensors_only")


def load_pickled(path: str | Path) -> Any:
    """What a file of torch.save holds, tensors on the CPU (those of a zip stay on the disk until they are used); other
    objects are `Skipped`. Raises ValueError for a file that is damaged or names anything outside of a short list."""
    kind = file_kind(path)
    if kind == "safetensors":
        raise ValueError(f"{path} is a safetensors file, not a pickled one.")
    path = Path(path)
    # A file that is called .safetensors torch.load would read as such: it gets the open file, which has no name to it.
    mapped = kind == "zip" and path.suffix.lower() != ".safetensors"
    # weights_only=True would refuse the published checkpoints, whose callbacks it does not know.
    options = {"map_location": "cpu", "pickle_module": _TENSORS_ONLY, "weights_only": False}
    try:
        if mapped:
            return torch.load(str(path), mmap=True, **options)
        with path.open("rb") as file, warnings.catch_warnings():
            # Old files hold the source of their modules, and `Skipped` has another one.
            warnings.simplefilter("ignore", SourceChangeWarning)
            return torch.load(file, **options)
    except NotWeights as error:
        raise ValueError(f"{path} {error}.") from error
    except Exception as error:  # a damaged pickle may raise any
        raise ValueError(
            f"{path} is damaged or cut short ({type(error).__name__}): download or copy it again."
        ) from error
