"""Download large files: try several mirrors, resume interrupted transfers, and verify a file before it gets its final
name. Written by hand, since huggingface_hub downloads from its own hub only; the authors' checkpoints are elsewhere."""

import hashlib
import logging
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError
from ..files import put_in_place

log = logging.getLogger(__name__)

_PIECE = 1 << 20
_TIMEOUT = 30  # seconds without a byte


class Unreachable(ValueError):
    """No mirror delivered the complete file."""


def require_space(folder: Path, needed: int) -> None:
    """Raise UserError if the disk of `folder` has less than `needed` bytes free. Creates `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB free, but {needed / 1e9:.1f} GB are needed: free some disk space."
        )


def download(urls: Sequence[str], path: Path, sha256: str | None = None) -> Path:
    """Download `path` from the first of `urls` that delivers it completely; returns `path`.

    An existing file is not downloaded again. An interrupted transfer is kept as <name>.partial in the same folder, and
    the next call resumes it. A file whose content does not match `sha256` is discarded. Raises `Unreachable`, with the
    error of each mirror, if none delivers the file."""
    if path.is_file():
        log.info("%s already exists", path)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    faults = []
    for url in urls:
        try:
            _fetch(url, partial)
        except (OSError, HTTPException, EOFError) as error:
            faults.append(f"{url}: {error}")
            log.warning("%s", faults[-1])
            continue
        found = file_sha256(partial)
        if sha256 is not None and found != sha256:
            partial.unlink()
            faults.append(f"{url}: sha256 is {found}, expected {sha256}")
            log.warning("%s", faults[-1])
            continue
        log.info("%s: sha256 %s%s", path, found, "" if sha256 else " (not verified: no sha256 is published)")
        put_in_place(partial, path)
        return path
    raise Unreachable("; ".join(faults))


def _fetch(url: str, partial: Path) -> None:
    """Append the missing bytes to `partial`. Raises OSError, or EOFError if the transfer ends early."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing
            return
        raise
    with answer:
        if "text/html" in answer.headers.get("Content-Type", ""):
            raise OSError("the server sent a web page instead of the file")
        resumed = answer.status == 206
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=partial.stem)
        with bar, partial.open("ab" if resumed else "wb") as file:
            while piece := answer.read(_PIECE):
                file.write(piece)
                bar.update(len(piece))
    if total is not None and partial.stat().st_size < total:
        raise EOFError(f"the transfer ended after {partial.stat().st_size:,} of {total:,} bytes")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
