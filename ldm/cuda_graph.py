"""CUDA graphs: record the kernels of a function once and launch them together. At batch 4, one step of the 1.4B model
is thousands of kernels, and the CPU takes longer to launch each kernel than the GPU takes to run it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

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
