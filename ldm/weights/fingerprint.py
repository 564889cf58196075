"""Fingerprints of weights."""

import hashlib
from weakref import WeakKeyDictionary

import torch

# Module -> where its tensors lie and how often each was changed, and the hash that they had
_known: WeakKeyDictionary[torch.nn.Module, tuple[list[tuple[int, int]], str]] = WeakKeyDictionary()


def weights_hash(module: torch.nn.Module, dtype: torch.dtype | None = None) -> str:
    """Return a hash of all parameters and buffers, 16 hex digits. With a `dtype`, it is the hash that they have when
    their floating-point numbers are stored in that type."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        stored = value.to(dtype) if dtype and value.is_floating_point() else value
        # NumPy has no bfloat16, so view the values as bytes.
        content = stored.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(name.encode())
        digest.update(content.numpy())  # pyright: ignore[reportArgumentType] - a buffer, which is not copied
    return digest.hexdigest()[:16]


def known_weights_hash(module: torch.nn.Module) -> str:
    """Return `weights_hash`. It is computed again only if a tensor has been changed or replaced: a large model takes
    seconds."""
    state = [(value.data_ptr(), value._version) for value in module.state_dict().values()]
    before, found = _known.get(module, (None, ""))
    if state != before:
        found = weights_hash(module)
        _known[module] = state, found
    return found
