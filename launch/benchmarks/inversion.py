"""Milliseconds per optimiser step of textual inversion: ours, alone and in packs, against diffusers and against the
peak rate of the machine."""

import copy
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
from torch.utils.flop_counter import FlopCounterMode

from ldm.images import to_tensor
from ldm.latent_diffusion import LatentDiffusion
from ldm.precision import fast_precisions
from textual_inversion.concept import Concept
from textual_inversion.learner import TextualInversion

from . import theirs
from .timing import compare_times, device, matrix_rate, repeat, wait_for_device

log = logging.getLogger("benchmark")

THEIRS = {torch.float32: "diffusers", torch.bfloat16: "diffusers_autocast"}  # the names of their rows


class StepTimes(L.Callback):
    """Measures the seconds from the end of one step to the end of the next."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        wait_for_device()
        self.ends.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Return the times without the first steps, which are the warm-up."""
        return [after - before for before, after in zip(self.ends[2:], self.ends[3:], strict=False)]


def pack_of(
    ldm: LatentDiffusion, concept: Concept, size: int, image_size: int, batch_size: int, **options: Any
) -> TextualInversion:
    concepts = [replace(concept, placeholder=f"<{i}>", seed=i) for i in range(size)]
    return TextualInversion(ldm, concepts, image_size, batch_size, **options)


def train(module: TextualInversion, steps: int) -> list[float]:
    """Run the training loop; return the seconds of each step."""
    times = StepTimes()
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    L.Trainer(
        max_steps=steps + 3,
        callbacks=[times],
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        **quiet,
    ).fit(module)
    return times.seconds()


def flops_of_step(module: TextualInversion) -> int:
    module.setup("fit")
    module.on_fit_start()
    with FlopCounterMode(display=False) as counter:
        module.losses({name: value.to(module.device) for name, value in module.draw(0).items()}).sum().backward()
    return counter.get_total_flops()


def _their_steps(step: Callable[[], object], count: int, dtype: torch.dtype) -> list[float]:
    with torch.autocast(device(), torch.bfloat16, enabled=dtype == torch.bfloat16):
        return repeat(step, count)


def inversion(
    folder: Path,
    ldm: LatentDiffusion,
    concept: Concept,
    image_size: int,
    batch_size: int,
    contenders: Mapping[str, Mapping[str, Any]],
    rounds: int,
    steps: int,
) -> dict[str, dict[str, float]]:
    """Time a step of diffusers' example and of `contenders` (name -> number of concepts, options of TextualInversion).

    Returns times, speed-ups over diffusers in the same precision (its bfloat16 is torch's autocast), and the floor as a
    fraction of the time. The floor is the time that the FLOPs of the step take at the rate of matrix multiplication on
    this machine. What would compute in a precision that this machine only emulates is left out."""
    ldm = ldm.to(device())
    # In bfloat16 on CPUs, attention with gradients is made of products of matrices, which the counter knows.
    alone = pack_of(copy.deepcopy(ldm), concept, 1, image_size, batch_size, frozen_dtype=torch.bfloat16)
    flops = flops_of_step(alone)
    images = to_tensor(alone.pictures[0].images)[:batch_size].to(ldm.device)
    step = theirs.inversion_step(ldm, images, alone.draw(0)["ids"].to(ldm.device), concept.learning_rate)
    calls: dict[str, Callable[[], list[float]]] = {
        THEIRS[dtype]: partial(_their_steps, step, steps, dtype) for dtype in fast_precisions()
    }
    sizes, dtypes = dict.fromkeys(calls, 1), {THEIRS[dtype]: dtype for dtype in fast_precisions()}
    for name, options in contenders.items():
        options = dict(options)
        if options.get("frozen_dtype", torch.float32) not in fast_precisions():
            log.info("%s is left out: this CPU has no units for bfloat16", name)
            continue
        sizes[name] = options.pop("concepts")
        module = pack_of(copy.deepcopy(ldm), concept, sizes[name], image_size, batch_size, **options)
        calls[name], dtypes[name] = lambda module=module: train(module, steps), module.frozen_dtype
    seconds = compare_times(calls, rounds)
    rates = {dtype: matrix_rate(dtype) for dtype in dict.fromkeys(dtypes.values())}
    results = {}
    for name, size in sizes.items():
        per_concept = seconds[name] / size
        results[name] = {
            "ms_a_step": 1000 * seconds[name],
            "ms_a_concept_step": 1000 * per_concept,
            "pictures_a_second": batch_size / per_concept,
            "times_faster_than_diffusers": seconds[THEIRS[dtypes[name]]] / per_concept,
            "floor_ms": 1000 * flops / rates[dtypes[name]],
            "share_of_floor": flops / rates[dtypes[name]] / per_concept,
        }
    results["machine"] = {f"gflop_per_s_{str(dtype).removeprefix('torch.')}": r / 1e9 for dtype, r in rates.items()}
    results["machine"]["gflop_a_step"] = flops / 1e9
    return results
