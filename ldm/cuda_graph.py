"""CUDA graphs: the kernels of a function are recorded once and launched together. At batch 4 a step of the 1.4B model
is thousands of kernels, and launching each of them takes the CPU longer than running it takes the GPU."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording, in which libraries choose their kernels and take their workspaces


class CudaGraph:
    """`function(*inputs)`, recorded for inputs of these shapes and replayed on others of the same shapes.

    `function` takes tensors on the current CUDA device and returns a tensor or several; it must not wait for the GPU
    and not draw random numbers. The next call overwrites what the last one returned."""

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
