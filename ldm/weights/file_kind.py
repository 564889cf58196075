"""What a file of weights really is: its content decides, never its name."""

import json
import zipfile
from pathlib import Path
from typing import Literal

Kind = Literal["safetensors", "zip", "pickle"]

_STRANGERS = {  # how files begin that lie where weights were expected
    b"version https://git-lfs": "is a Git LFS pointer, not the file itself: run `git lfs pull` in its repository",
    b"GGUF": "is in GGUF format, which is not supported: get the original checkpoint or the safetensors file",
    b"\x1f\x8b": "is a gzip archive: unpack it first",
}


def file_kind(path: str | Path) -> Kind:
    """ "safetensors", or torch's own formats "zip" and (before torch 1.6) "pickle". Raises ValueError with one sentence
    about what else it is and what to do."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}.")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise ValueError(f"{path} is empty: download or copy it again.")
    # First: the length with which a safetensors file begins may look like the beginning of any other format.
    if head[6:9] == b"\0\0{":
        header = int.from_bytes(head[:8], "little")
        if header > size - 8:
            raise ValueError(f"{path} is cut short ({size:,} bytes hold less than its header): download it again.")
        return "safetensors"
    if head.startswith(b"PK"):
        return _complete_zip(path)
    if head.startswith(b"\x80"):
        return "pickle"
    for start, sentence in _STRANGERS.items():
        if head.startswith(start):
            raise ValueError(f"{path} {sentence}.")
    raise ValueError(f"{path} {_describe_text(path, head)}.")


def _complete_zip(path: Path) -> Kind:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is cut short (a torch file without its end): download it again.")
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).name for name in archive.namelist()}
    if "constants.pkl" in names:
        raise ValueError(f"{path} is a TorchScript program, not a checkpoint of weights.")
    if "data.pkl" not in names:
        raise ValueError(f"{path} is a zip archive of something else than weights: unpack it first.")
    return "zip"


def _describe_text(path: Path, head: bytes) -> str:
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        return "is a web page (a login or an error?), not the file that it should hold: download it again"
    if "\ufffd" in text or "\0" in text:
        return "is neither a safetensors file nor a torch checkpoint"
    if text.startswith(("{", "[")):
        try:
            json.loads(path.read_text(encoding="utf-8"))
            return "is a JSON file, not weights: give the file of tensors that belongs to it"
        except ValueError:
            pass
    if ":" in text:
        return "is a text file, probably a YAML config: give the checkpoint that belongs to it"
    return "is a text file, not weights"
