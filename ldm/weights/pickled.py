"""Load tensors from torch's pickled files without importing or calling anything that the file names. Published
checkpoints contain pickled training callbacks; a malicious file could contain any program."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from .archive import BadArchive, records
from .file_kind import file_kind
from .plain_values import Builder, Damaged, NotWeights, Skipped, shown
from .stored import DTYPES, STORAGES, Kind, Storage, Stored
from .unpickling import BUILTINS, Machine

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of files from before torch 1.6

# What published files name beside tensors: hyperparameters, callbacks, settings. Nothing here is imported or called.
_SKIPPED_PACKAGES = frozenset(
    "pytorch_lightning lightning lightning_fabric lightning_utilities torchmetrics omegaconf numpy transformers "
    "diffusers accelerate yacs easydict addict pathlib argparse datetime decimal uuid enum typing".split()
)
_SKIPPED = {
    ("torch", "device"), ("torch", "Generator"), ("torch.nn.modules.container", "ParameterDict"),
    ("torch.nn.parameter", "Parameter"), ("types", "SimpleNamespace"), ("collections", "deque"),
    ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"),
    *((module, name) for module in BUILTINS for name in "int float str bool list tuple object complex slice".split()),
}  # fmt: skip


def load_pickled(path: str | Path, whole: bool = False) -> Any:
    """Return the contents of a file of torch.save: plain values, tensors on the CPU (memory-mapped if the file is a
    zip), and `Skipped` in place of other objects. The memory is proportional to the size of the file.

    Raises UserError if the file is damaged, or names anything outside of a short list. With `whole`, which is for
    training states, everything that would be skipped is refused, and the file is not mapped, so it can be replaced."""
    kind, path = file_kind(path), Path(path)
    if kind == "safetensors":
        raise UserError(f"{path} is a safetensors file, not a pickled one.")
    try:
        reader = _Reader(path, mapped=kind == "zip" and not whole, whole=whole)
        return reader.load_zip() if kind == "zip" else reader.load_old()
    except OSError:
        raise
    except NotWeights as error:
        raise UserError(f"{path} {error}.") from error
    except Exception as error:  # a broken pickle may raise any
        why = error if isinstance(error, BadArchive | Damaged) else type(error).__name__
        raise UserError(f"{path} is damaged or truncated ({why}): download or copy it again.") from error


class _Reader:
    def __init__(self, path: Path, mapped: bool, whole: bool) -> None:
        self.path, self.whole = path, whole
        self.stored = Stored(path, mapped)

    def load_zip(self) -> Any:
        found = records(self.path)
        pickles = [name for name in found if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise Damaged(f"it has {len(pickles)} records data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if self.stored.content(*found.get(folder + "byteorder", (0, 0))) == b"big":
            raise Damaged("it was written on a machine with another order of bytes")

        def find_stored(key: Any) -> Storage:
            dtype, name, count = _described(key)
            return self.stored.storage(dtype, count, *found[f"{folder}data/{name}"])

        return self._machine(find_stored).load(io.BytesIO(self.stored.content(*found[pickles[0]])))

    def load_old(self) -> Any:
        """Read the format from before torch 1.6: five pickles, and then the storages in the order of the last one. The
        pickle of the contents is run twice, because it alone knows the types of the storages that follow it."""
        dtypes: dict[str, torch.dtype] = {}

        def describe(key: Any) -> Any:
            if _is_module(key):
                return key[1]
            dtype, name, count = _described(key)
            dtypes[name] = dtype
            return Storage(dtype, count, None)

        with self.path.open("rb") as file:
            if self._machine().load(file) != _MAGIC or self._machine().load(file) != _PROTOCOL:
                raise Damaged("it is not a file of torch.save")
            if self._machine().load(file)["little_endian"] is not True:
                raise Damaged("it was written on a machine with another order of bytes")
            start = file.tell()
            self._machine(describe).load(file)
            places = {}
            for name in self._machine().load(file):
                size = int.from_bytes(file.read(8), "little") * dtypes[name].itemsize
                places[name] = (file.tell(), size)
                if file.tell() + size > len(self.stored.bytes):
                    raise Damaged("a storage is cut off")
                file.seek(size, io.SEEK_CUR)
            file.seek(start)
            return self._machine(partial(self._old_storage, places)).load(file)

    def _old_storage(self, places: dict[str, tuple[int, int]], key: Any) -> Any:
        if _is_module(key):
            return key[1]
        dtype, name, count = _described(key)
        start, size = places[name]
        if len(key) > 5 and key[5] is not None:  # a part of a storage, as in files of torch 0.3
            _, offset, count = key[5]
            if offset < 0:
                raise Damaged("a storage begins before its file")
            start, size = start + offset * dtype.itemsize, size - offset * dtype.itemsize
        return self.stored.storage(dtype, count, start, size)

    def _machine(self, find_stored: Callable[[Any], Storage] | None = None) -> Machine:
        builders: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor"): self.stored.tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self.stored.tensor,
            ("torch._utils", "_rebuild_tensor_v3"): self.stored.tensor_of,
            ("torch._utils", "_rebuild_parameter"): _data,
            ("torch._utils", "_rebuild_parameter_with_state"): _data,
            ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
            ("torch", "Size"): tuple,
        }
        return Machine(builders, _other, find_stored, self.whole)


def _data(data: torch.Tensor | None, *_: Any) -> torch.Tensor | None:
    """The tensor of a parameter."""
    return data


def _of_type(builder: Builder, _type: Any, arguments: tuple[Any, ...], *_: Any) -> torch.Tensor | None:
    """The tensor of an object with a type of its own, or with attributes."""
    return builder.build(*arguments)


def _other(module: str, name: str) -> Any:
    """Return what a name stands for that builds nothing. Raises NotWeights for a name that is not in the lists."""
    if module == "torch" and name in DTYPES:
        return DTYPES[name]
    if module in ("torch", "torch.storage", "torch.cuda") and name in STORAGES:
        return Kind(STORAGES[name])
    if (module, name) in _SKIPPED or module.partition(".")[0] in _SKIPPED_PACKAGES:
        return Skipped(f"{module}.{name}")
    raise NotWeights(f"asks for {shown(module, name)}, which no weights need; no code in it was run")


def _is_module(key: Any) -> bool:
    """Whether an old file names the class of a module here, with its source."""
    return type(key) is tuple and len(key) > 1 and key[0] == "module" and type(key[1]) is Skipped


def _described(key: Any) -> tuple[torch.dtype, str, int]:
    """Return the type, the name and the count of the storage that a pickle asks for."""
    if type(key) is not tuple or len(key) < 5 or key[0] != "storage" or type(key[1]) is not Kind:
        raise Damaged("it asks for something that is no storage")
    return key[1].dtype, key[2], key[4]
