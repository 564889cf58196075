"""Random numbers as pure functions of a key such as (seed, step, index), so that resuming a run or packing several runs
into one does not change them, and neither does splitting the batch of an inversion over processes. Torch has no keyed
generators; numpy's SeedSequence mixes the key."""

import numpy as np
import torch


def generator(*key: int) -> torch.Generator:
    """Return a torch generator whose stream depends only on `key` (non-negative integers). It lives on the CPU, so that
    all devices get the same numbers."""
    state = np.random.SeedSequence(_padded(key)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))


def step_generator(seed: int, step: int, process: int = 0) -> torch.Generator:
    """Return the generator of an optimiser step in a pretraining. Each process of a distributed run has a stream of its
    own; process 0 has that of a run with a single process."""
    return generator(seed, step, process) if process else generator(seed, step)


def numpy_generator(*key: int) -> np.random.Generator:
    """Return a numpy generator whose stream depends only on `key` (non-negative integers)."""
    return np.random.default_rng(_padded(key))


def _padded(key: tuple[int, ...]) -> tuple[int, ...]:
    """Prepend the length of `key`: numpy ignores trailing zeros, so (1,) and (1, 0) would give the same stream."""
    return (len(key), *key)
