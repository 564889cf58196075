"""Files that are whole or not there: written beside their place, then put into it."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a path to write to, beside `path`; what was written there takes the place of `path` at the end, unless an
    error ends the block. Folders that are missing are made. What a killed process left behind is removed by the next
    one that writes the same file on that machine."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = f".{path.name}.{socket.gethostname()}-"
    for left in path.parent.glob(".*.partial"):
        if left.name.startswith(stem) and not _is_alive(left.name.removeprefix(stem).removesuffix(".partial")):
            left.unlink(missing_ok=True)
    partial = path.with_name(f"{stem}{os.getpid()}.partial")
    try:
        yield partial
        put_in_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def put_in_place(partial: Path, path: Path) -> None:
    """Renames a finished file or folder so that a power cut leaves the old one or the new one, whole."""
    for written in (partial, *partial.rglob("*")) if partial.is_dir() else (partial,):
        sync(written)
    partial.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Returns when the file, or the folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot sync folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: str | Path, content: bytes) -> None:
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_json(path: str | Path, content: object) -> None:
    write_whole(path, json.dumps(content, indent=2).encode())


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
