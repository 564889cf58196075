"""Read one file of weights, in safetensors or torch format."""

from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ..errors import UserError
from .file_kind import file_kind
from .pickled import load_pickled

HEADER_BYTES = 8 << 20  # of a safetensors file: the names and places of 80,000 tensors, or long notes of a training


def read_content(file: Path) -> tuple[Any, dict[str, str]]:
    """Return what the file holds and its metadata, which only safetensors files have. Tensors are memory-mapped where
    the format allows. Raises UserError with the reason if the file cannot be read."""
    if file_kind(file) != "safetensors":
        return load_pickled(file), {}
    with file.open("rb") as opened:
        if int.from_bytes(opened.read(8), "little") > HEADER_BYTES:
            raise UserError(f"{file} has a list of tensors that is too long for a file of weights.")
    try:
        with safe_open(file, "pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except OSError:
        raise
    except Exception as error:  # unknown types of numbers and impossible shapes raise others than SafetensorError
        raise UserError(f"{file} is damaged or truncated ({error}): download or copy it again.") from error


def read_file(file: Path) -> dict[str, Tensor]:
    """Return the tensors of the file, or of its "state_dict" or "model". They are memory-mapped where the format
    allows. Raises UserError with the reason if the file cannot be read."""
    content, _ = read_content(file)
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(_is_weight(*item) for item in content.items()):
        raise UserError(f"{file} holds no weights: expected a state dict, or a dict with the key 'state_dict'.")
    return dict(content)


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)
