"""Milliseconds of an optimiser step of textual inversion: ours, alone and in packs, against diffusers' and against the
machine's best."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as L
from torch.utils.flop_counter import FlopCounterMode

from ldm.data import to_tensor
from ldm.latent_diffusion import LatentDiffusion
from textual_inversion.concept import Concept
from textual_inversion.learner import TextualInversion

from . import theirs
from .timing import interleaved, matrix_rate, repeat, wait_for_device


class StepTimes(L.Callback):
    """Seconds from the end of one step to the end of the next."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        wait_for_device()
        self.ends.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Without the first steps, which warm up."""
        return [after - before for before, after in zip(self.ends[2:], self.ends[3:], strict=False)]


def pack_of(ldm: LatentDiffusion, concept: Concept, size: int, image_size: int, batch_size: int) -> TextualInversion:
    concepts = [replace(concept, placeholder=f"<{i}>", seed=i) for i in range(size)]
    return TextualInversion(ldm, concepts, image_size, batch_size)


def train(module: TextualInversion, steps: int) -> list[float]:
    """Seconds a step, of the whole training loop."""
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


def inversion(
    folder: Path,
    ldm: LatentDiffusion,
    concept: Concept,
    image_size: int,
    batch_size: int,
    packs: list[int],
    rounds: int,
    steps: int,
) -> dict[str, dict[str, float]]:
    """Seconds a step of diffusers, of ours alone and in packs; per concept, and as a share of diffusers'."""
    alone = pack_of(ldm, concept, 1, image_size, batch_size)
    images = to_tensor(alone.pictures[0].images)[:batch_size].to(ldm.device)
    alone.on_fit_start()
    ids = alone.draw(0)["ids"].to(ldm.device)
    step = theirs.inversion_step(ldm, images, ids, concept.learning_rate)
    modules = {size: pack_of(ldm, concept, size, image_size, batch_size) for size in packs}
    calls = {"diffusers": lambda: repeat(step, steps)}
    for size, module in modules.items():
        calls[f"pack of {size}"] = lambda module=module: train(module, steps)
    seconds = interleaved(calls, rounds)

    with FlopCounterMode(display=False) as counter:
        alone.losses({name: value.to(ldm.device) for name, value in alone.draw(0).items()}).sum().backward()
    rate = matrix_rate()
    results = {"diffusers": {"ms": 1000 * seconds["diffusers"]}}
    for size in packs:
        per_concept = seconds[f"pack of {size}"] / size
        results[f"pack of {size}"] = {
            "ms": 1000 * seconds[f"pack of {size}"],
            "ms_per_concept": 1000 * per_concept,
            "times_faster_than_diffusers": seconds["diffusers"] / per_concept,
            "share_of_matrix_rate": counter.get_total_flops() / rate / per_concept,
        }
    results["machine"] = {"matrix_gflop_per_s": rate / 1e9, "gflop_per_step": counter.get_total_flops() / 1e9}
    return results
