"""The storages of a file of torch.save, and the tensors in them. Nothing is larger than the file that it comes from."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .plain_values import Damaged

DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128, "ComplexFloatStorage": torch.complex64, "UntypedStorage": torch.uint8,
}  # fmt: skip
_ALIGNMENT = 8  # bytes; what the processor needs
_TENSORS = 50_000  # of one file
_SHARED = 2  # the tensors may have this many times the bytes of the file, since two of them may share a storage


class Kind(NamedTuple):
    """The type of a storage."""

    dtype: torch.dtype


class Storage(NamedTuple):
    """`count` numbers of a file. `content` is None as long as it is not known where they lie."""

    dtype: torch.dtype
    count: int
    content: torch.UntypedStorage | None


class Stored:
    """The bytes of a file, in memory or mapped, and the tensors in them. Raises Damaged for tensors that the file does
    not have the bytes for."""

    def __init__(self, path: Path, mapped: bool) -> None:
        size = path.stat().st_size
        if mapped:
            storage = torch.UntypedStorage.from_file(str(path), False, size)
            self.bytes = torch.empty(0, dtype=torch.uint8).set_(storage)
        else:
            self.bytes = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
        self.copies_left, self.bytes_left, self.tensors_left = size, _SHARED * size, _TENSORS
        self.contents: dict[tuple[int, int], torch.UntypedStorage] = {}  # tensors may share a storage

    def content(self, start: int, size: int) -> bytes:
        return self.bytes[start : start + size].numpy().tobytes()

    def storage(self, dtype: torch.dtype, count: int, start: int, size: int) -> Storage:
        """Return `count` numbers at the byte `start`, where the file has `size` bytes for them."""
        needed = count * dtype.itemsize
        if count < 0 or start < 0 or needed > size or start + needed > len(self.bytes):
            raise Damaged("a storage is shorter than the file says")
        if (start, needed) not in self.contents:
            self.contents[start, needed] = self._aligned(start, needed)
        return Storage(dtype, count, self.contents[start, needed])

    def _aligned(self, start: int, size: int) -> torch.UntypedStorage:
        content = self.bytes.untyped_storage()[start : start + size]
        if (self.bytes.data_ptr() + start) % _ALIGNMENT == 0:
            return content
        self.copies_left -= size
        if self.copies_left < 0:
            raise Damaged("its storages overlap")
        return content.clone()

    def tensor(
        self, storage: Storage, offset: int, size: Sequence[int], stride: Sequence[int], *rest: Any
    ) -> torch.Tensor | None:
        """Build a tensor: `torch._utils._rebuild_tensor_v2`. Of `rest`, only the last item would change its numbers: it
        lists operations that are still to be applied, which no file of weights has."""
        if len(rest) > 2 and rest[2]:
            raise Damaged("a tensor is stored with operations that are still to be applied")
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if min(offset, *size, *stride, 0) < 0 or (count and (last >= storage.count or count > storage.count)):
            raise Damaged("a tensor is larger than its storage")
        if storage.content is None:
            return None
        self.tensors_left -= 1
        self.bytes_left -= count * storage.dtype.itemsize
        if min(self.tensors_left, self.bytes_left) < 0:
            raise Damaged("it has too many tensors for its size")
        return torch.empty(0, dtype=storage.dtype).set_(storage.content, offset, tuple(size), tuple(stride))

    def tensor_of(
        self, storage: Storage, offset: int, size: Sequence[int], stride: Sequence[int], *rest: Any
    ) -> torch.Tensor | None:
        """Build a tensor of a type that has no storages of its own: `torch._utils._rebuild_tensor_v3`."""
        _, _, dtype, *metadata = rest
        typed = storage._replace(dtype=dtype, count=storage.count // dtype.itemsize)
        return self.tensor(typed, offset, size, stride, None, None, *metadata)
