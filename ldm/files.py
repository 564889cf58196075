"""Atomic file writes: write to a temporary file in the same folder, then rename it. Written by hand, since the
library for this, atomicwrites, is no longer maintained."""

import errno
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ALMOST_NONE = 1 << 16  # free bytes of a full disk: a rest that no file can use
_PARTIAL = re.compile(r"\..+\..+-\d+\.partial")  # of any process on any machine


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, for a file or a folder; rename it to `path` at the end of the
    block.

    If the block raises, `path` stays as it was; if the disk is full, the error is an OSError. Missing folders are
    created. What a killed process left behind is removed by the next process that writes the same file on the same
    machine, or by `remove_leftovers`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = f".{path.name}.{socket.gethostname()}-"
    for left in path.parent.glob(".*.partial"):
        if left.name.startswith(stem) and not _is_alive(left.name.removeprefix(stem).removesuffix(".partial")):
            _remove(left)
    partial = path.with_name(f"{stem}{os.getpid()}.partial")
    try:
        yield partial
        put_in_place(partial, path)
    except Exception as error:
        if isinstance(error, OSError):
            error.filename = error.filename or str(path)
        elif _disk_is_full(path.parent, error):  # torch and safetensors raise errors of their own
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        _remove(partial)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes of any machine have left of `replacing` in the folder and below. Only for a folder
    in which no other process writes now."""
    for left in [path for path in folder.rglob(".*.partial") if _PARTIAL.fullmatch(path.name)]:
        _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def put_in_place(partial: Path, path: Path) -> None:
    """Rename a finished file or folder to `path`. After a power cut, either the old or the new one is there, whole."""
    for written in (partial, *partial.rglob("*")) if partial.is_dir() else (partial,):
        sync(written)
    partial.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file, or the list of files of a folder, to the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot fsync folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: str | Path, content: bytes) -> None:
    with replacing(path) as partial:
        partial.write_bytes(content)


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file; None if there is no such file, or if it is broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def write_json(path: str | Path, content: object) -> None:
    write_whole(path, json.dumps(content, indent=2).encode())


def _disk_is_full(folder: Path, error: Exception) -> bool:
    """Whether the disk of `folder` is full, or was when `error` was raised."""
    return f"os error {errno.ENOSPC}" in str(error) or shutil.disk_usage(folder).free < ALMOST_NONE


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
