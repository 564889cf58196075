"""What the processes of `trainer=ddp` exchange: the gradient of v* once in a step, and nothing of the frozen model."""

import math
import os
from unittest.mock import patch

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

WIDTH = 16  # of the tiny model's embeddings
STEPS = 3


@pytest.fixture
def one_of_many():
    """Let this process be the only member of a process group of gloo, and leave the group afterwards."""
    with patch.dict(os.environ):  # Lightning writes rank and address into it
        yield {"strategy": "ddp", "devices": 1, "use_distributed_sampler": False}
        torch.distributed.destroy_process_group()


def exchanged(work) -> list[tuple[str, int]]:
    """Return the collectives of gloo that run during `work`, each with the number of its float32 values."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        work()
    events = [event for event in recorded.events() if event.name.startswith("gloo:")]
    return [(event.name, sum(math.prod(shape) for shape in event.input_shapes)) for event in events]


@pytest.mark.filterwarnings("ignore:Found .* in eval mode")
@pytest.mark.parametrize("k", [1, 3])
def test_a_step_exchanges_the_gradient_of_the_vectors_and_nothing_else(one_of_many, inversion, concept, trainer, k):
    module = inversion(concept(num_vectors=k))
    found = exchanged(lambda: trainer(STEPS, **one_of_many).fit(module))
    assert [count for name, count in found if name == "gloo:all_reduce"] == [k * WIDTH] * STEPS
    at_the_start = sum(count for name, count in found if name != "gloo:all_reduce")
    assert k * WIDTH <= at_the_start < k * WIDTH + 100 < sum(p.numel() for p in module.ldm.parameters()) / 100
