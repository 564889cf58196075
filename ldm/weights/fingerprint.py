"""Fingerprints of weights."""

import hashlib
from weakref import WeakKeyDictionary

import torch

# Module -> where its tensors lie and how often each was changed, and the hash that they had
_known: WeakKeyDictionary[torch.nn.Module, tuple[list[tuple[int, int]], str]] = WeakKeyDictionary()


def weights_hash(module: torch.nn.Module) -> str:
    """Return a hash of all parameters and buffers, 16 hex digits."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        # NumPy has no bfloat16, so view the values as bytes.
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(name.encode() + content.numpy().tobytes())
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
