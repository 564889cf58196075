"""Fingerprints of weights."""

import hashlib

import torch


def weights_hash(module: torch.nn.Module) -> str:
    """Return a hash of all parameters and buffers, 16 hex digits."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        # NumPy has no bfloat16, so view the values as bytes.
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(name.encode() + content.numpy().tobytes())
    return digest.hexdigest()[:16]
