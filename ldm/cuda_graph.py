"""CUDA graphs: record the kernels of a function once and launch them together. At batch 4, one step of the 1.4B model
is thousands of kernels, and the CPU takes longer to launch each kernel than the GPU takes to run it. Written by hand,
since torch.cuda.make_graphed_callables keeps no recordings for several shapes."""

from collections.abc import Callable, Hashable
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

WARM_UP = 3  # calls before the recording: libraries choose their kernels and allocate their workspaces in them


class CudaGraph:
    """`function(*inputs)`, recorded for the shapes of `inputs` and replayed on other inputs of the same shapes.

    `function` takes tensors on the current CUDA device and returns one or several tensors. It must neither synchronise
    with the GPU nor draw random numbers. Each call overwrites the tensors that the previous call returned."""

    def __init__(self, function: Callable[..., Any], *inputs: Tensor) -> None:
        self.inputs = [x.detach().clone() for x in inputs]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                function(*self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = function(*self.inputs)

    def __call__(self, *inputs: Tensor) -> Any:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.outputs


class Replay:
    """`function(*inputs)`, a computation with `network` without gradients. It is recorded at the first call with inputs
    of each shape and replayed by later calls. The recordings are kept with the network until its weights move in
    memory."""

    _kept: ClassVar[WeakKeyDictionary[nn.Module, tuple[Hashable, dict[Hashable, CudaGraph]]]] = WeakKeyDictionary()

    def __init__(self, function: Callable[..., Tensor], network: nn.Module) -> None:
        self.function = function
        places = tuple(parameter.data_ptr() for parameter in network.parameters())
        before, graphs = self._kept.get(network, (None, {}))
        self.graphs = graphs if before == places else {}
        self._kept[network] = places, self.graphs

    def __call__(self, *inputs: Tensor) -> Tensor:
        shapes = tuple(x.shape for x in inputs)
        if shapes not in self.graphs:
            self.graphs[shapes] = CudaGraph(self.function, *inputs)
        return self.graphs[shapes](*inputs).clone()
