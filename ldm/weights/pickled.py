"""Load tensors from torch's pickled files without importing or calling anything that the file names. Published
checkpoints contain pickled training callbacks; a malicious file could contain any program."""

import pickle
import warnings
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import _utils
from torch.serialization import SourceChangeWarning

from ..errors import UserError
from .file_kind import file_kind

_DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()


class Skipped:
    """A placeholder for a pickled object that is not a tensor. It accepts the contents that unpickling passes to it and
    ignores them; `state` is the state that the object would have been restored from."""

    state: Any = None
    dump_patches = False  # torch.load reads it from the classes of modules in old files

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
    """A file names a class or function that no file of weights needs."""


def _parameter(data: torch.Tensor, requires_grad: bool, hooks: Any) -> torch.Tensor:
    return data


# The only callables that unpickling may use. torch.load itself looks storages up by name in a fixed list.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): _utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.nn.modules.container", "ParameterDict"): Skipped,
    ("_codecs", "encode"): Skipped,  # part of pickled numpy scalars
    **{("torch", name): getattr(torch, name) for name in _DTYPES},
}
# Packages whose objects published checkpoints contain in addition to the tensors.
_SKIPPED_PACKAGES = frozenset(("pytorch_lightning", "lightning", "lightning_fabric", "omegaconf", "numpy"))


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        allowed = _ALLOWED.get((module_name, global_name))
        if allowed is not None:
            return allowed
        if module_name.split(".")[0] in _SKIPPED_PACKAGES:
            return Skipped
        raise NotWeights(f"asks for {module_name}.{global_name}, which no weights need; no code in it was run")


def _load(file: Any, **kwargs: Any) -> Any:
    return _TensorUnpickler(file, **kwargs).load()


_TENSORS_ONLY = SimpleNamespace(Unpickler=_TensorUnpickler, load=_load, __name__="tensors_only")


def load_pickled(path: str | Path) -> Any:
    """Return the contents of a file of torch.save, with tensors on the CPU (memory-mapped if the file is a zip) and
    `Skipped` in place of other objects. Raises UserError if the file is damaged or names anything outside of a short
    list of allowed callables."""
    kind = file_kind(path)
    if kind == "safetensors":
        raise UserError(f"{path} is a safetensors file, not a pickled one.")
    path = Path(path)
    # torch.load would parse a path that ends in .safetensors as safetensors, so pass it the open file instead.
    mapped = kind == "zip" and path.suffix.lower() != ".safetensors"
    # weights_only=True would reject the published checkpoints because of their callbacks.
    options = {"map_location": "cpu", "pickle_module": _TENSORS_ONLY, "weights_only": False}
    try:
        if mapped:
            return torch.load(str(path), mmap=True, **options)
        with path.open("rb") as file, warnings.catch_warnings():
            # Old files contain the source of their modules, which differs from that of `Skipped`.
            warnings.simplefilter("ignore", SourceChangeWarning)
            return torch.load(file, **options)
    except NotWeights as error:
        raise UserError(f"{path} {error}.") from error
    except Exception as error:  # a damaged pickle may raise any
        raise UserError(
            f"{path} is damaged or truncated ({type(error).__name__}): download or copy it again."
        ) from error
