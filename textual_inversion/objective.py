"""The objective of textual inversion (Gal et al. 2022, eq. 2) for each sample, and two faster implementations:
torch.compile and CUDA graphs. Each is used only if its gradient agrees with that of the plain one."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ldm.cuda_graph import CudaGraph
from ldm.latent_diffusion import LatentDiffusion

from .embedding_manager import encode_rows

log = logging.getLogger(__name__)

# (ldm, rows [b, n, width] or [b, layers, n, width], z_0, t, eps) -> losses [b]
Objective = Callable[..., Tensor]


def sample_losses(ldm: LatentDiffusion, rows: Tensor, z_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """Return eq. 2 for each sample [b]; `rows`, [b, n, width] or [b, layers, n, width], are the embedded captions."""
    return ldm.losses(z_0, encode_rows(ldm.text_encoder, rows), t, eps)


def bends(objective: Objective, ldm: LatentDiffusion, rows: Tensor, *sample: Tensor) -> float:
    """Return the relative error of the gradient of `objective` with respect to `rows`, compared with `sample_losses`;
    0 if it is within rounding error."""
    rows = rows.detach().requires_grad_()
    plain, fast = (
        torch.autograd.grad(losses(ldm, rows, *sample).sum(), rows)[0].float() for losses in (sample_losses, objective)
    )
    off = float((fast - plain).norm() / plain.norm())
    return 0.0 if off < (1e-3 if ldm.unet.dtype == torch.float32 else 5e-2) else off  # a NaN is returned as it is


class CompiledLosses:
    """`sample_losses` with torch.compile. Some builds of the compiler silently produce wrong gradients, so the first
    batch is computed with both; if they disagree, the plain function is used."""

    def __init__(self) -> None:
        self.losses: Objective = torch.compile(sample_losses)
        self.checked = False

    def __call__(self, ldm: LatentDiffusion, rows: Tensor, *sample: Tensor) -> Tensor:
        if not self.checked and rows.requires_grad:
            off = bends(self.losses, ldm, rows, *sample)
            if off:
                log.warning(
                    "torch.compile changes the gradient here by %.2g (relative): training continues without it.", off
                )
                self.losses = sample_losses
            self.checked = True
        return self.losses(ldm, rows, *sample)


class _Replay(torch.autograd.Function):
    """Losses [b] of a graph that also computes their gradients. The rows of a sample affect only its own loss, so the
    backward pass scales the recorded gradient of each sample."""

    @staticmethod
    def forward(ctx: Any, graph: CudaGraph, rows: Tensor, *sample: Tensor) -> Tensor:
        losses, gradient = graph(rows, *sample)
        ctx.save_for_backward(gradient.clone())
        return losses.clone()

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        weight = weights[0].view(-1, *[1] * (gradient.ndim - 1))
        return None, gradient * weight.to(gradient.dtype), None, None, None


class GraphedLosses:
    """`losses` and their gradient as a CUDA graph: one launch per step, recorded at the first batch of each shape."""

    def __init__(self, losses: Objective) -> None:
        self.losses = losses
        self.recorded: dict[torch.Size, Objective] = {}

    def __call__(self, ldm: LatentDiffusion, rows: Tensor, *sample: Tensor) -> Tensor:
        if not rows.requires_grad:  # validation, which is rare
            return self.losses(ldm, rows, *sample)
        if rows.shape not in self.recorded:
            self.recorded[rows.shape] = self._record(ldm, rows, *sample)
        return self.recorded[rows.shape](ldm, rows, *sample)

    def _record(self, ldm: LatentDiffusion, rows: Tensor, *sample: Tensor) -> Objective:
        def losses_and_gradient(rows: Tensor, *sample: Tensor) -> tuple[Tensor, Tensor]:
            rows = rows.detach().requires_grad_()
            with torch.enable_grad():
                losses = self.losses(ldm, rows, *sample)
            (gradient,) = torch.autograd.grad(losses.sum(), rows)
            return losses.detach(), gradient

        graph = CudaGraph(losses_and_gradient, rows, *sample)

        def replay(ldm: LatentDiffusion, rows: Tensor, *sample: Tensor) -> Tensor:
            return _Replay.apply(graph, rows, *sample)  # pyright: ignore[reportReturnType]

        off = bends(replay, ldm, rows, *sample)
        if off:
            log.warning(
                "The CUDA graph changes the gradient here by %.2g (relative): training continues without it.", off
            )
            return self.losses
        return replay
