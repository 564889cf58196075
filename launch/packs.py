"""Groups the jobs of a sweep into packs and trains them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytorch_lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ProgressBar

from ldm.errors import UserError
from ldm.files import remove_leftovers, write_whole
from ldm.latent_diffusion import LatentDiffusion
from ldm.training.products import always_end
from ldm.training.quiet import quiet_lightning
from ldm.training.resumption import Checkpoint, read_state
from textual_inversion.learner import TextualInversion
from textual_inversion.pack import OfRun, Pack, saved_bytes, speaking
from textual_inversion.pack_files import PackCheckpoint, PackFiles

from .command import require_weights
from .model import build_model, build_module
from .ownership import lock_folder
from .processes import device_count
from .resumption import Resumption, checkpoint_to_resume, resumption
from .tracking import Guarded, Track, begin_anew, loggers_of
from .training import interruptible, require_parts

log = logging.getLogger("packs")

INVERSION = "textual_inversion.learner.TextualInversion"


def pack_key(config: DictConfig) -> Any:
    """Return the settings that all jobs of a pack must share: everything but the concept, and the folders and words
    that depend on it. None for a job that is not an inversion, that may end before the others, that needs several
    devices, or whose checkpoint is unusable."""
    if config.module is None or config.module.get("_target_") != INVERSION or config.callbacks.get("early_stop"):
        return None
    if device_count(config) > 1:
        return None
    module = {name: value for name, value in config.module.items() if name != "concepts"}
    random_model = config.module.ldm.get("weights") is None
    try:
        step = _step_of(checkpoint_to_resume(config.resume, Path(config.paths.run)))
    except UserError:  # the job says so when it is trained alone
        return None
    return {
        "module": OmegaConf.to_container(OmegaConf.create(module)),
        "trainer": OmegaConf.to_container(config.trainer),
        "seed": config.seed if random_model else None,
        "step": step,
    }


def _step_of(checkpoint: str | None) -> int:
    return read_state(checkpoint)["global_step"] if checkpoint else 0


def group(configs: Sequence[DictConfig], max_size: int | None) -> Iterator[tuple[list[int], LatentDiffusion | None]]:
    """Yield the indices of jobs that can be trained together, in order; a job without partners is alone. Each pack
    comes with the model if it was built to find out how many jobs fit the memory, else with None."""
    packs: list[list[int]] = []
    keys: list[Any] = []
    for i, config in enumerate(configs):
        key = pack_key(config)
        if key is not None and key in keys:
            packs[keys.index(key)].append(i)
        else:
            packs.append([i])
            keys.append(key)
    for pack in packs:
        yield from _parts(pack, configs, max_size)


def _parts(
    pack: list[int], configs: Sequence[DictConfig], max_size: int | None
) -> Iterator[tuple[list[int], LatentDiffusion | None]]:
    """Split a pack into parts that fit the memory, of nearly equal size."""
    ldm, size = None, max_size or len(pack)
    if len(pack) > 1 and max_size is None:
        run = next(filter(None, (_build_alone(configs[i]) for i in pack)), None)
        if run is not None:
            size = min(len(pack), count_that_fit(run))
            ldm = run.ldm if run.frozen_dtype == torch.float32 else None  # words start from unrounded embeddings
    count = -(-len(pack) // size)
    for i in range(count):
        yield pack[i * len(pack) // count : (i + 1) * len(pack) // count], ldm
        ldm = None  # the next part builds its own model, with unchanged weights


def _build_alone(config: DictConfig) -> TextualInversion | None:
    """Build the run of a job; None if it cannot be built, which the job says when it is trained."""
    try:
        (run,) = build([config]).runs
    except Exception:
        return None
    return run


def halves(pack: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Split a pack that failed, so that a job that cannot be trained is apart from the others after a few splits."""
    return pack[: len(pack) // 2], pack[len(pack) // 2 :]


def count_that_fit(run: TextualInversion) -> int:
    """Estimate how many runs like `run` fit into the free memory. Each run needs its saved tensors for the backward
    pass, plus half as much for gradients. A third of the free memory is kept in reserve."""
    run.setup("fit")
    if torch.cuda.is_available():
        run.cuda()
        free = torch.cuda.mem_get_info()[0]
    else:
        free = psutil.virtual_memory().available
    return max(1, int(free / 1.5 / (1.5 * saved_bytes(run))))


def build(configs: Sequence[DictConfig], ldm: LatentDiffusion | None = None) -> Pack:
    """Build the runs of the jobs around one model."""
    quiet_lightning()
    for config in configs:
        require_weights(config)
        require_parts(config)
    torch.manual_seed(configs[0].seed)  # for models without a file of weights
    ldm = ldm or build_model(configs[0].module.ldm)
    return Pack([build_module(config.module, ldm) for config in configs])


class RunLog(logging.FileHandler):
    """Writes the log records of run `index` and of the pack as a whole."""

    def __init__(self, file: Path, index: int) -> None:
        super().__init__(file, encoding="utf-8")
        self.addFilter(lambda record: speaking.get() in (None, index))


def fit(configs: Sequence[DictConfig], ldm: LatentDiffusion | None) -> None:
    """Train the jobs with these resolved configs together. `ldm` is the model, if it is already built."""
    folders = [Path(config.paths.run) for config in configs]
    logs = [RunLog(folder / "train.log", i) for i, folder in enumerate(folders)]
    with ExitStack() as stack:
        for handler in logs:
            stack.callback(handler.close)
            stack.callback(logging.getLogger().removeHandler, handler)
            logging.getLogger().addHandler(handler)
        for folder in folders:
            stack.enter_context(lock_folder(folder))
            remove_leftovers(folder)
        pack = build(configs, ldm)
        begins = [resumption(config, run) for config, run in zip(configs, pack.runs, strict=True)]
        for config, folder, begin in zip(configs, folders, begins, strict=True):
            if begin.checkpoint is None:
                begin_anew(folder)
            write_whole(folder / "config.yaml", OmegaConf.to_yaml(config).encode())
        loggers = [stack.enter_context(loggers_of(config)) for config in configs]
        _fit(pack, configs, begins, loggers)


def _fit(
    pack: Pack, configs: Sequence[DictConfig], begins: Sequence[Resumption], loggers: Sequence[Sequence[Guarded]]
) -> None:
    callbacks: list[L.Callback] = []
    folders = [Path(config.paths.run) for config in configs]
    for i, config in enumerate(configs):
        for node in filter(None, config.callbacks.values()):
            callback = instantiate(node, _convert_="all")
            if isinstance(callback, Checkpoint):
                last = callback
            elif not isinstance(callback, ProgressBar):
                callbacks.append(OfRun(callback, i))
            elif i == 0:
                callbacks.append(callback)
        if loggers[i]:
            callbacks.append(OfRun(Track(loggers[i], folders[i]), i))
        pack.runs[i].changes = begins[i].changes
    save = PackCheckpoint(str(folders[0]), last.every_steps, last.every_minutes)
    checkpoints = [begin.checkpoint for begin in begins if begin.checkpoint]
    if checkpoints:
        log.info("resuming %d runs from step %d", len(checkpoints), begins[0].step)
    files = PackFiles(pack, folders, [begin.record for begin in begins], checkpoints)
    trainer = instantiate(configs[0].trainer, callbacks=[*callbacks, save], plugins=[files], _convert_="all")
    always_end(trainer)
    with interruptible():
        trainer.fit(pack, ckpt_path=checkpoints[0] if checkpoints else None)
