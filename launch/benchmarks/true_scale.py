"""Benchmarks at the published sizes with random weights: milliseconds per step, memory, and seconds per image, ours and
diffusers'. A single unattended run measures one after another until its time is up. A failed measurement records its
error, and the others still run."""

import gc
import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ldm.latent_diffusion import LatentDiffusion
from ldm.precision import fast_precisions
from ldm.sampling import Sampler
from ldm.training.data import to_tensor
from textual_inversion.concept import Concept
from textual_inversion.learner import TextualInversion
from textual_inversion.objective import GraphedLosses, Objective, sample_losses
from textual_inversion.scales import frozen_dtype

from . import theirs
from .random_models import build_random, errors_against_original
from .timing import device, hardware, matrix_rate, repeat, wait_for_device
from .vocabularies import write_vocabulary

log = logging.getLogger("benchmark")

Row = dict[str, float | str]
PROMPT = "a photo of a cat on the moon"
NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
BATCH = 4  # samples per step and concept: the batch size per GPU in the paper


class Results(dict[str, Row]):
    """Measurements, each written to `path` as soon as it is done. No measurement starts after `minutes`."""

    def __init__(self, path: Path, minutes: float) -> None:
        super().__init__()
        self.path, self.end = path, time.monotonic() + 60.0 * minutes

    def measure(self, name: str, work: Callable[[], Row]) -> None:
        if time.monotonic() > self.end:
            self[name] = {"skipped": "no time was left"}
        else:
            try:
                self[name] = work()
            except Exception as error:  # any error of the GPU: the other measurements still have to run
                self[name] = {"error": f"{type(error).__name__}: {error}"[:500]}
            _free_memory()
        log.info("%s: %s", name, self[name])
        self.path.write_text(json.dumps({"hardware": hardware(), "results": self}, indent=2))


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak() -> Row:
    """Return the peak GPU memory of tensors in GB since the last `_free_memory`; empty without a GPU."""
    return {"peak_gb": torch.cuda.max_memory_allocated() / 1e9} if torch.cuda.is_available() else {}


class LoopTime(L.Callback):
    """Measures the seconds per step of the training loop. It synchronises with the GPU only at the start and at the
    end, so that CPU and GPU work overlap."""

    def __init__(self, warm_up: int, steps: int) -> None:
        self.first, self.last = warm_up, warm_up + steps
        self.at: dict[int, float] = {}

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step in (self.first, self.last):
            wait_for_device()
            self.at[trainer.global_step] = time.perf_counter()

    def seconds(self) -> float:
        return (self.at[self.last] - self.at[self.first]) / (self.last - self.first)


def milliseconds(step: Callable[[], object], count: int) -> float:
    """Return the milliseconds per call; `count` calls are launched without synchronising in between."""
    for _ in range(3):
        step()
    wait_for_device()
    start = time.perf_counter()
    for _ in range(count):
        step()
    wait_for_device()
    return 1000.0 * (time.perf_counter() - start) / count


class Bench:
    """Measurements of one model with random weights, frozen in bfloat16, or in float32 on a CPU that emulates
    bfloat16."""

    dtype = frozen_dtype(on_gpu=torch.bfloat16)

    def __init__(self, scale: DictConfig, vocabulary: Path, concept: Concept, steps: int) -> None:
        self.scale, self.vocabulary, self.concept, self.steps = scale, vocabulary, concept, steps
        self.image_size: int = scale.image_size

    def build(self) -> LatentDiffusion:
        return build_random(self.scale.module.ldm.module, self.vocabulary, device())

    def pack(self, size: int, batch: int) -> TextualInversion:
        concepts = [replace(self.concept, placeholder=f"<{i}>", seed=i) for i in range(size)]
        return TextualInversion(self.build(), concepts, self.image_size, batch, frozen_dtype=self.dtype)

    def ready_pack(self, size: int, batch: int, checkpointing: bool = False) -> TextualInversion:
        """Build a pack on the device with its images encoded, ready for the first step."""
        module = self.pack(size, batch)
        module.ldm.unet.checkpointing = checkpointing
        module.setup("fit")
        module.to(device()).on_fit_start()
        _free_memory()
        return module

    def count_flops(self) -> Row:
        step = self._step(self.ready_pack(1, BATCH), sample_losses)  # encodes the images, which is no part of a step
        with FlopCounterMode(display=False) as counter:
            step()
        return {"tflop_a_step": counter.get_total_flops() / 1e12}

    @staticmethod
    def _step(module: TextualInversion, objective: Objective) -> Callable[[], object]:
        batch = {name: value.to(module.device) for name, value in module.draw(0).items()}
        sample = batch["z_0"], batch["t"], batch["eps"]

        def step() -> None:
            losses = objective(module.ldm, module.embed(batch), *sample)
            module.per_concept(losses).sum().backward()

        return step

    def objective(self, objective: Objective, size: int = 1, batch: int = BATCH, checkpointing: bool = False) -> Row:
        """Measure the objective and its gradient, repeatedly on one batch."""
        step = self._step(self.ready_pack(size, batch, checkpointing), objective)
        start = time.perf_counter()
        step()
        wait_for_device()
        first = time.perf_counter() - start
        ms = milliseconds(step, self.steps)
        rate = 1000.0 * size * batch / ms
        return {"ms": ms, "ms_a_concept": ms / size, "samples_a_second": rate, "first_step_s": first, **_peak()}

    def loop(self, size: int) -> Row:
        """Measure the complete training loop, as train.py runs it."""
        clock = LoopTime(5, self.steps)
        quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
        L.Trainer(
            max_steps=clock.last,
            callbacks=[clock],
            enable_model_summary=False,
            limit_val_batches=0,
            use_distributed_sampler=False,
            **quiet,
        ).fit(self.pack(size, BATCH))
        return {"ms": 1000.0 * clock.seconds(), "ms_a_concept": 1000.0 * clock.seconds() / size, **_peak()}

    def their_step(self, autocast: bool) -> Row:
        """Measure a step of diffusers' example, in float32 or under autocast. It encodes the images in every step."""
        module = self.ready_pack(1, BATCH)
        ids = module.draw(0)["ids"].to(module.device)
        images = to_tensor(module.pictures[0].images)[:BATCH].to(module.device)
        del module
        with torch.device(device()):
            step = theirs.inversion_step(self.build(), images, ids, self.concept.learning_rate)
        _free_memory()

        def run() -> None:
            with torch.autocast(device(), torch.bfloat16) if autocast else nullcontext():
                step()

        return {"ms": milliseconds(run, self.steps), **_peak()}

    def sampling(self, pictures: int, steps: int) -> Row:
        """Measure the seconds to sample and decode that many images with guidance."""
        ldm = self.build().freeze(self.dtype)
        z_T, sampler = ldm.noise(0, range(pictures)), Sampler(steps)

        def sample() -> Tensor:
            return ldm.sample(ldm.text_encoder([PROMPT] * pictures), z_T, sampler, self.scale.guidance)

        return {"seconds": min(repeat(sample, 2)), **_peak()}

    def their_sampling(self, pictures: int, steps: int, autocast: bool) -> Row:
        with torch.device(device()):
            generate = theirs.pipeline(self.build(), self.image_size, autocast)
        return {
            "seconds": min(repeat(lambda: generate([PROMPT] * pictures, steps, self.scale.guidance), 1)),
            **_peak(),
        }


def _machine() -> Row:
    """Measure the peak rates of the device: matrix products, and copies (bytes read and written)."""
    side, size = (8192, 1 << 30) if torch.cuda.is_available() else (1024, 1 << 24)
    source = torch.empty(size, dtype=torch.uint8, device=device())
    target = torch.empty_like(source)
    rate = 2 * size / min(repeat(lambda: target.copy_(source), 10))
    rates = {f"{NAMES[dtype]}_tflop_per_s": matrix_rate(dtype, side) / 1e12 for dtype in fast_precisions()}
    return {**rates, "copy_tb_per_s": rate / 1e12}


def _bench(scale: dict[str, Any], words: str, folder: Path, concept: Concept, steps: int) -> Bench:
    described = OmegaConf.create(scale)
    with torch.device("meta"):
        text = instantiate(described.module.ldm.module).text_encoder
    return Bench(described, write_vocabulary(text, Path(words), concept.initializer, folder), concept, steps)


def true_scale(
    folder: Path,
    scale: dict[str, Any],
    stable_diffusion: dict[str, Any],
    vocabulary: str,
    concept: dict[str, Any],
    golden: str | None,
    minutes: float,
    steps: int,
    pictures: int,
    sampling_steps: int,
    batches: Sequence[int],
    packs: Sequence[int],
    compiled: bool,
) -> dict[str, Row]:
    """Run all measurements of the model of `scale`, and ours of `stable_diffusion`. What no record has comes before
    what assets/benchmarks/true_scale.json has. Each is written to results.json in `folder` when it is done."""
    learned: Concept = instantiate(concept, _convert_="all")
    bench = _bench(scale, vocabulary, folder / "vocabulary", learned, steps)
    node = bench.scale.module.ldm.module
    results, cuda = Results(folder / "results.json", minutes), torch.cuda.is_available()

    def graphed() -> Objective:
        return GraphedLosses(sample_losses) if cuda else sample_losses

    results.measure("machine", _machine)
    results.measure("model", bench.count_flops)
    if cuda:  # the packs and checkpointing are compared with these two
        results.measure("ours, graph", lambda: bench.objective(graphed()))
    results.measure("ours, whole loop", lambda: bench.loop(1))
    for size in packs:
        results.measure(f"ours, whole loop, pack of {size}", lambda size=size: bench.loop(size))
    results.measure("ours, sampling", lambda: bench.sampling(pictures, sampling_steps))
    autocast = torch.bfloat16 in fast_precisions()
    if autocast:
        results.measure(
            "diffusers under autocast, sampling", lambda: bench.their_sampling(pictures, sampling_steps, True)
        )
    if golden:
        results.measure("errors in float32", lambda: dict(errors_against_original(node, Path(golden), device())))
    results.measure("ours, checkpointing", lambda: bench.objective(graphed(), checkpointing=True))
    other = _bench(stable_diffusion, vocabulary, folder / "tokenizer", learned, steps)
    results.measure("Stable Diffusion 1, whole loop", lambda: other.loop(1))
    results.measure("Stable Diffusion 1, sampling", lambda: other.sampling(pictures, sampling_steps))
    if autocast:
        results.measure("diffusers under autocast", lambda: bench.their_step(True))
    results.measure("ours, plain", lambda: bench.objective(sample_losses))
    results.measure("diffusers", lambda: bench.their_step(False))
    results.measure("diffusers, sampling", lambda: bench.their_sampling(pictures, sampling_steps, False))
    for batch in batches:
        results.measure(f"ours, batch {batch}", lambda batch=batch: bench.objective(graphed(), 1, batch))
    if compiled and cuda:
        results.measure("ours, compiled graph", lambda: bench.objective(GraphedLosses(torch.compile(sample_losses))))
    return results
