"""Load and save weights. Loading is strict: an error lists every mismatch of names or shapes."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import UserError
from ..files import put_in_place
from .diffusers_layout import is_diffusers_folder, read_diffusers
from .family import describe_family
from .reading import read_file

log = logging.getLogger(__name__)

SHARD_BYTES = 15_000_000  # small enough for any host of git repositories
_SHARD = re.compile(r"\d+-of-\d+\.safetensors")

# Tensors in published files that are not part of the model: the moving average and the loss (discriminator, perceptual
# network) from training, and the learned words of the official textual inversion (which load_words reads).
DROPPED = ("model_ema.", "loss.", "first_stage_model.loss.", "embedding_manager.", "logvar", "lvlb_weights")
POSITION_IDS = "position_ids"  # a buffer of CLIP, 0, 1, 2, ..., that newer files omit


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a file in safetensors or torch format (of its "state_dict", if it has one), or of all
    safetensors files in a folder. They are memory-mapped where the format allows. Raises UserError with the reason if
    the file cannot be read."""
    path = Path(path)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise UserError(f"no weights at {path}: expected a file of weights, or a folder of safetensors files.")
    return {name: value for file in files for name, value in read_file(file).items()}


def load_weights(module: nn.Module, weights: str | Path | None) -> nn.Module:
    """Load `weights` into `module` in place; returns `module`.

    `weights` is a path for `read_weights`, or the folder of a diffusers pipeline. Loading is strict: raises UserError
    unless every name and shape agrees and every number is finite. Tensors in `DROPPED` or `POSITION_IDS` may be missing
    from the file or from the module. The tables of a noise schedule are computed; those of the file must be of the same
    schedule. Values are cast to the dtypes of the module, which may be on the meta device. None loads nothing, for
    training from scratch and for parts of a larger file."""
    if weights is None:
        return module
    folder = Path(weights)
    loaded = read_diffusers(folder, module.state_dict()) if is_diffusers_folder(folder) else read_weights(weights)
    own = {name: (value.shape, value.dtype) for name, value in module.state_dict().items()}
    dropped = [n for n in loaded if n not in own and (n.startswith(DROPPED) or n.endswith(POSITION_IDS))]
    if dropped:
        log.info("%s: ignored %s", weights, by_prefix(dropped))
    for name in dropped:
        del loaded[name]
    tables: dict[str, Tensor] = cast(Any, module).schedule_tables() if hasattr(module, "schedule_tables") else {}
    optional = (*DROPPED, *tables)
    faults = {
        "missing": {n for n in own.keys() - loaded.keys() if not (n.startswith(optional) or n.endswith(POSITION_IDS))},
        "unexpected": loaded.keys() - own.keys(),
        "with a different shape": {n for n in own.keys() & loaded.keys() if own[n][0] != loaded[n].shape},
    }
    if any(faults.values()):
        said = "; ".join(
            f"{len(names)} tensors {fault}, such as {min(names)} ({by_prefix(names)})"
            for fault, names in faults.items()
            if names
        )
        raise UserError(f"{weights} does not fit this model: {said}. {describe_family(loaded)}")
    if "betas" in loaded and "betas" in tables:
        _require_schedule(weights, loaded["betas"], tables["betas"])
    loaded |= tables
    for name in sorted(loaded):
        value = loaded.pop(name).to(own[name][1])
        _put(module, name, value)
        if not _is_finite(value):
            raise UserError(f"{weights}: {name} contains NaN or infinite values.")
    return module


def _require_schedule(weights: str | Path, found: Tensor, own: Tensor) -> None:
    """Raise UserError unless the betas of a file are those of the model, up to rounding in half precision."""
    if not torch.allclose(found.float(), own, rtol=0.01, atol=0.0):
        ends = [f"{float(betas[0]):.6g} to {float(betas[-1]):.6g}" for betas in (found, own)]
        raise UserError(
            f"{weights} was trained with another noise schedule: its betas go from {ends[0]}, those of this model from "
            f"{ends[1]}."
        )


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    """Replace one tensor of `module`. The old tensor is freed before the bytes of the new one are read from the disk,
    so memory never holds two copies of the model."""
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    old = getattr(owner, leaf)
    setattr(owner, leaf, nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value)


def _is_finite(value: Tensor) -> bool:
    """Return whether all values are finite. The minimum and the maximum both propagate NaN, and need no temporary
    tensor as `value.isfinite()` does."""
    if not value.is_floating_point() or not value.numel():
        return True
    return bool(torch.stack(value.aminmax()).isfinite().all())


def by_prefix(names: Iterable[str]) -> str:
    """Count names by prefix: "686 x model.diffusion_model, 248 x first_stage_model"."""
    counts = Counter(_prefix(name) for name in names)
    return ", ".join(f"{count} x {prefix}" for prefix, count in counts.most_common(4)) + (
        f" and {len(counts) - 4} other prefixes" if len(counts) > 4 else ""
    )


def _prefix(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[: 2 if parts[0] == "model" else 1])


def write_weights(folder: str | Path, weights: Mapping[str, Tensor]) -> None:
    """Write `weights` as half-precision safetensors shards and replace `folder` with them. Raises UserError if
    `folder` holds anything but such shards."""
    folder = Path(folder)
    partial = folder.with_name(folder.name + ".partial")
    require_only_shards(folder)
    _remove_shards(partial)
    partial.mkdir(parents=True)
    half = {n: (v.half() if v.is_floating_point() else v).contiguous() for n, v in weights.items()}
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in half.items():
        if shards[-1] and size + value.nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = value
        size += value.nbytes
    try:
        for i, shard in enumerate(shards, start=1):
            save_file(shard, partial / f"{i}-of-{len(shards)}.safetensors")
    except BaseException:
        _remove_shards(partial)
        raise
    _remove_shards(folder)
    put_in_place(partial, folder)


def require_only_shards(folder: str | Path) -> None:
    """Raise UserError if `folder` holds other files than `write_weights` writes: they would be lost."""
    for place in (Path(folder), Path(folder).with_name(Path(folder).name + ".partial")):
        others = [path.name for path in place.iterdir() if not _SHARD.fullmatch(path.name)] if place.is_dir() else []
        if others:
            raise UserError(f"{place} holds {min(others)}, which new weights would delete: choose another folder.")


def _remove_shards(folder: Path) -> None:
    if folder.is_dir():
        for path in folder.iterdir():
            if _SHARD.fullmatch(path.name):
                path.unlink()
        folder.rmdir()
