"""The objective of textual inversion (Gal et al. 2022, eq. 2) for each sample, and two ways to compute it faster:
compiled, and as a CUDA graph. Neither is used before its gradient has been compared with the plain one."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ldm.cuda_graph import CudaGraph
from ldm.latent_diffusion import LatentDiffusion

log = logging.getLogger(__name__)

Objective = Callable[..., Tensor]  # (ldm, rows [b, n, width], z_0, t, eps) -> losses [b]


def sample_losses(ldm: LatentDiffusion, rows: Tensor, z_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """eq. 2 for each sample [b], from its embedded caption, rows [b, n, width]."""
    return ldm.losses(z_0, ldm.cond_stage_model.encode(rows), t, eps)


def bends(objective: Objective, ldm: LatentDiffusion, rows: Tensor, *sample: Tensor) -> float:
    """How far the gradient of `objective` to `rows` lies from that of `sample_losses`, as a share of its norm, where
    that is more than rounding; else 0."""
    rows = rows.detach().requires_grad_()
    plain, fast = (
        torch.autograd.grad(losses(ldm, rows, *sample).sum(), rows)[0].float() for losses in (sample_losses, objective)
    )
    off = float((fast - plain).norm() / plain.norm())
    return 0.0 if off < (1e-3 if ldm.unet.dtype == torch.float32 else 5e-2) else off  # NaN is not less


class CompiledLosses:
    """`sample_losses`, compiled. Some builds of the compiler have lost or bent gradients without a word, so the first
    batch goes both ways, and where they disagree everything stays as it was."""

    def __init__(self) -> None:
        self.losses: Objective = torch.compile(sample_losses)
        self.checked = False

    def __call__(self, ldm: LatentDiffusion, rows: Tensor, *sample: Tensor) -> Tensor:
        if not self.checked and rows.requires_grad:
            off = bends(self.losses, ldm, rows, *sample)
            if off:
                log.warning("torch.compile bends the gradient here by %.2g: training goes on without it.", off)
                self.losses = sample_losses
            self.checked = True
        return self.losses(ldm, rows, *sample)


class _Replay(torch.autograd.Function):
    """Losses [b] of a graph that has computed their gradients as well: a sample's rows move its own loss alone."""

    @staticmethod
    def forward(ctx: Any, graph: CudaGraph, rows: Tensor, *sample: Tensor) -> Tensor:
        losses, gradient = graph(rows, *sample)
        ctx.save_for_backward(gradient.clone())
        return losses.clone()

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return None, gradient * weights[0][:, None, None].to(gradient.dtype), None, None, None


class GraphedLosses:
    """`losses` and their gradient on CUDA: one launch a step, recorded at the first batch of each size."""

    def __init__(self, losses: Objective) -> None:
        self.losses = losses
        self.recorded: dict[torch.Size, Objective] = {}

    def __call__(self, ldm: LatentDiffusion, rows: Tensor, *sample: Tensor) -> Tensor:
        if not rows.requires_grad:  # validation: seldom
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
            log.warning("The CUDA graph bends the gradient here by %.2g: training goes on without it.", off)
            return self.losses
        return replay
