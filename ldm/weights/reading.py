"""One file of weights, in safetensors or torch format, as a table of tensors."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .file_kind import file_kind
from .pickled import load_pickled


def read_file(file: Path) -> dict[str, Tensor]:
    """The file's tensors, or those of its "state_dict"; they stay on the disk until they are used. Raises ValueError
    that says what is wrong with the file."""
    if file_kind(file) == "safetensors":
        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file} is damaged or cut short ({error}): download or copy it again.") from error
    content = load_pickled(file)
    weights = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not weights or not all(isinstance(v, Tensor) for v in weights.values()):
        raise ValueError(f"{file} holds no table of weights: it should be a state dict, or hold one as 'state_dict'.")
    return dict(weights)
