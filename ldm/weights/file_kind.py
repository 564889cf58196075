"""Detect the format of a file of weights from its content, never from its name."""

from pathlib import Path
from typing import Literal

from ..errors import UserError
from .archive import BadArchive, records

Kind = Literal["safetensors", "zip", "pickle"]

_STRANGERS = {  # first bytes of files that are often mistaken for weights
    b"version https://git-lfs": "is a Git LFS pointer, not the file itself: run `git lfs pull` in its repository",
    b"GGUF": "is in GGUF format, which is not supported: get the original checkpoint or the safetensors file",
    b"\x89PNG": "is a picture. If it is a word that the web UI has put into a picture, save it there as a .pt file",
    b"\x1f\x8b": "is a gzip archive: unpack it first",
}


def file_kind(path: str | Path) -> Kind:
    """Return "safetensors", or one of torch's own formats, "zip" and (before torch 1.6) "pickle". For any other file,
    raises UserError with a sentence that says what the file is and what to do."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist.")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise UserError(f"{path} is empty: download or copy it again.")
    # Test this first: a safetensors file starts with a length, which may look like the first bytes of another format.
    if head[6:9] == b"\0\0{":
        header = int.from_bytes(head[:8], "little")
        if header > size - 8:
            raise UserError(f"{path} is truncated ({size:,} bytes, less than its header): download it again.")
        return "safetensors"
    if head.startswith(b"PK"):
        return _complete_zip(path)
    if head.startswith(b"\x80"):
        return "pickle"
    for start, sentence in _STRANGERS.items():
        if head.startswith(start):
            raise UserError(f"{path} {sentence}.")
    raise UserError(f"{path} {_describe_text(head)}.")


def is_mapped(path: str | Path) -> bool:
    """Return whether the tensors of this file, or of the files in this folder, are mapped and not read at once."""
    return Path(path).is_dir() or file_kind(path) != "pickle"


def _complete_zip(path: Path) -> Kind:
    try:
        names = {name.rpartition("/")[2] for name in records(path)}
    except BadArchive as error:
        raise UserError(f"{path} is damaged or truncated ({error}): download or copy it again.") from error
    if "constants.pkl" in names:
        raise UserError(f"{path} is a TorchScript program, not a checkpoint of weights.")
    if "data.pkl" not in names:
        raise UserError(f"{path} is a zip archive, but not a checkpoint: unpack it first.")
    return "zip"


def _describe_text(head: bytes) -> str:
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        return "is a web page (perhaps a login or an error page), not a file of weights: download it again"
    if "\ufffd" in text or "\0" in text:
        return "is neither a safetensors file nor a torch checkpoint"
    if text.startswith(("{", "[")):
        return "is a JSON file, not weights: give the path of the weights"
    if ":" in text:
        return "is a text file, probably a YAML config: give the path of the checkpoint"
    return "is a text file, not weights"
