"""Read one file of weights, in safetensors or torch format."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import UserError
from .file_kind import file_kind
from .pickled import load_pickled


def read_file(file: Path) -> dict[str, Tensor]:
    """Return the tensors of the file, or of its "state_dict". They are memory-mapped where the format allows. Raises
    UserError with the reason if the file cannot be read."""
    if file_kind(file) == "safetensors":
        try:
            return load_file(file)
        except SafetensorError as error:
            raise UserError(f"{file} is damaged or truncated ({error}): download or copy it again.") from error
    content = load_pickled(file)
    weights = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not weights or not all(isinstance(v, Tensor) for v in weights.values()):
        raise UserError(f"{file} holds no weights: expected a state dict, or a dict with the key 'state_dict'.")
    return dict(weights)
