"""When kernels are recorded and when they are replayed, with a stand-in for CUDA graphs."""

import torch
from torch import nn

from ldm import cuda_graph
from ldm.cuda_graph import Replay


def test_a_function_is_recorded_once_a_shape_for_as_long_as_the_weights_stay_in_place(monkeypatch):
    recorded = []

    class Recorder:
        """Return the same memory every time, as a real graph does."""

        def __init__(self, function, *inputs):
            recorded.append(tuple(len(x) for x in inputs))
            self.function, self.output = function, torch.empty_like(inputs[0])

        def __call__(self, *inputs):
            return self.output.copy_(self.function(*inputs))

    monkeypatch.setattr(cuda_graph, "CudaGraph", Recorder)
    network = nn.Linear(2, 2).requires_grad_(False)
    two, three = torch.randn(2, 2), torch.randn(3, 2)
    replay = Replay(network, network)
    first, second = replay(two), replay(-two)
    assert torch.equal(first, network(two)) and torch.equal(second, network(-two))
    again = Replay(network, network)
    assert torch.equal(again(three), network(three)) and torch.equal(again(two), first)
    assert recorded == [(2,), (3,)]
    network.weight = nn.Parameter(-network.weight, requires_grad=False)
    assert torch.equal(Replay(network, network)(two), network(two)) and recorded == [(2,), (3,), (2,)]
