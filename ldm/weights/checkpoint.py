"""Load and save weights. Loading is strict: an error lists every mismatch of names or shapes."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import UserError
from ..files import put_in_place
from .diffusers_layout import BESIDE_TEXT, CLIP_TEXT, PARTS, is_diffusers_folder, read_diffusers
from .family import describe_family
from .file_kind import is_mapped
from .reading import read_file

log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)

MAPPED_BYTES = 128 << 20  # mapping a file of 3 GB again takes 0.1 to 0.4 s
SHARD_BYTES = 15_000_000  # small enough for any host of git repositories
_SHARD = re.compile(r"\d+-of-\d+\.safetensors")

# Tensors in published files that are not part of the model: the moving average and the loss (discriminator, perceptual
# network) from training, the learned words of the official textual inversion (which load_words reads), and the parts of
# a complete CLIP that a text encoder lacks.
CLIP = "cond_stage_model.transformer."
DROPPED = (
    "model_ema.",
    "loss.",
    "first_stage_model.loss.",
    "embedding_manager.",
    "logvar",
    "lvlb_weights",
    "cond_stage_model.logit_scale",
    *(CLIP + name for name in BESIDE_TEXT),
)
POSITION_IDS = "position_ids"  # a buffer of CLIP, 0, 1, 2, ..., that newer files omit


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a file in safetensors or torch format, or of its table "state_dict" or "model", or of all
    safetensors files in a folder. They are memory-mapped where the format allows. Raises UserError with the reason if
    the file cannot be read."""
    path = Path(path)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise UserError(f"no weights at {path}: expected a file of weights, or a folder of safetensors files.")
    return _as_published({name: value for file in files for name, value in read_file(file).items()})


def _as_published(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefix that DataParallel puts before all names, and add the one that transformers 5 leaves out of
    CLIP's."""
    if all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    new = tuple(CLIP + name for name in CLIP_TEXT)
    return {
        f"{CLIP}text_model.{name.removeprefix(CLIP)}" if name.startswith(new) else name: value
        for name, value in weights.items()
    }


def load_weights(module: nn.Module, weights: str | Path | None) -> nn.Module:
    """Load `weights` into `module` in place; returns `module`.

    `weights` is a path for `read_weights`, or the folder of a diffusers pipeline. If `module` is one of the `PARTS` of
    a model and `weights` hold the whole model, only this part is read. Loading is strict: raises UserError unless every
    name and shape agrees and every number is finite. Tensors in `DROPPED` or `POSITION_IDS` may be missing from the
    file or from the module. The tables of a noise schedule are computed; those of the file must be of the same
    schedule. Values are cast to the dtypes of the module; parameters on the meta device take theirs as they are stored.
    None loads nothing, for training from scratch and for parts of a larger file."""
    if weights is None:
        return module
    folder = Path(weights)

    def read() -> dict[str, Tensor]:
        own = module.state_dict()
        return part_for(own, read_diffusers(folder, own) if is_diffusers_folder(folder) else read_weights(folder))

    tables: dict[str, Tensor] = cast(Any, module).schedule_tables() if hasattr(module, "schedule_tables") else {}
    for name, value in tables.items():
        _put(module, name, value)
    loaded, parameters = read(), {name for name, _ in module.named_parameters()}
    _require_fit(weights, loaded, module.state_dict(), tables)
    for name, value in module.state_dict().items():
        if value.is_meta and name.endswith(POSITION_IDS) and name not in loaded:
            _put(module, name, torch.arange(value.shape[-1]).expand(value.shape).clone())
    dtypes = {
        name: None if value.is_meta and name in parameters else value.dtype
        for name, value in module.state_dict().items()
        if name in loaded and name not in tables
    }
    del loaded
    for name, stored in _one_by_one(read, sorted(dtypes), is_mapped(folder)):
        value = stored.to(dtypes[name] or stored.dtype, copy=True)
        _put(module, name, value)
        if not _is_finite(value):
            raise UserError(f"{weights}: {name} contains NaN or infinite values.")
    return module


def part_for(own: Mapping[str, Tensor], loaded: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the part of a whole model that a module with the state dict `own` is, or `loaded` if there is none."""
    if own.keys() & loaded.keys():
        return loaded
    for part in PARTS:
        if any(part + name in loaded for name in own):
            return {name.removeprefix(part): value for name, value in loaded.items() if name.startswith(part)}
    return loaded


def _require_fit(
    weights: str | Path, loaded: Mapping[str, Tensor], own: Mapping[str, Tensor], tables: Mapping[str, Tensor]
) -> None:
    """Raise UserError unless the tensors of a file are those of a model with the state dict `own`, whose `tables` of
    the noise schedule are computed."""
    dropped = [n for n in loaded if n not in own and (n.startswith(DROPPED) or n.endswith(POSITION_IDS))]
    if dropped:
        log.info("%s: ignored %s", weights, by_prefix(dropped))
    optional = (*DROPPED, *tables)
    faults = {
        "missing": {n for n in own.keys() - loaded.keys() if not (n.startswith(optional) or n.endswith(POSITION_IDS))},
        "unexpected": loaded.keys() - own.keys() - {*dropped},
        "with a different shape": {n for n in own.keys() & loaded.keys() if own[n].shape != loaded[n].shape},
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


def load_as_stored(build: Callable[[], Network], weights: str | Path | None) -> Network:
    """Return the model that `build` builds, with the values of `weights` as they are stored, half precision included;
    None leaves it as it was built. Memory holds one copy of the model, in the precision of the file."""
    if weights is None:
        return build()
    with torch.device("meta"):
        model = build()
    return cast(Any, load_weights(model, weights)).to("cpu")  # Lightning's modules note where they are


def _require_schedule(weights: str | Path, found: Tensor, own: Tensor) -> None:
    """Raise UserError unless the betas of a file are those of the model, up to rounding in half precision."""
    if not torch.allclose(found.float(), own, rtol=0.01, atol=0.0):
        ends = [f"{float(betas[0]):.6g} to {float(betas[-1]):.6g}" for betas in (found, own)]
        raise UserError(
            f"{weights} was trained with another noise schedule: its betas go from {ends[0]}, those of this model from "
            f"{ends[1]}."
        )


def _one_by_one(
    read: Callable[[], dict[str, Tensor]], names: Iterable[str], mapped: bool
) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors `names` of what `read` returns. Bytes of a mapped file that were read stay in memory as long as
    the file is mapped: it is mapped again after every `MAPPED_BYTES`, so that memory never holds two copies of a
    model."""
    loaded, left = read(), MAPPED_BYTES
    for name in names:
        if left <= 0 and mapped:
            loaded.clear()
            loaded, left = read(), MAPPED_BYTES
        left -= loaded[name].nbytes
        yield name, loaded.pop(name)


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    """Replace one tensor of `module`."""
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
