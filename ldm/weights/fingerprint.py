"""What weights are known by."""

import hashlib

import torch


def weights_hash(module: torch.nn.Module) -> str:
    """A fingerprint of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        # as bytes: NumPy knows no bfloat16
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(name.encode() + content.numpy().tobytes())
    return digest.hexdigest()[:16]
