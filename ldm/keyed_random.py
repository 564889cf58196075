"""Random draws as pure functions of a key such as (seed, step, index): resuming, packing and splitting a batch over
processes cannot change them."""

import numpy as np
import torch


def generator(*key: int) -> torch.Generator:
    """A CPU generator whose stream depends on `key` (non-negative integers) alone. CPU, so that every device draws
    alike."""
    state = np.random.SeedSequence(_padded(key)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))


def numpy_generator(*key: int) -> np.random.Generator:
    """The same for numpy."""
    return np.random.default_rng(_padded(key))


def _padded(key: tuple[int, ...]) -> tuple[int, ...]:
    """numpy ignores zeros at the end of a key; with its length in front, (1,) and (1, 0) differ."""
    return (len(key), *key)
