"""Weights from and to files: safetensors, whole or in shards, strictly loaded."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

SHARD_BYTES = 15_000_000  # a file that any host of git repositories takes


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of all such files in a folder."""
    path = Path(path)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise ValueError(f"no weights at {path}: it should be a safetensors file, or a folder of such files.")
    try:
        return {name: value for file in files for name, value in load_file(file).items()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not in safetensors format ({error}); it may be damaged or incomplete.") from error


def pretrained(module: nn.Module, weights: str | Path | None) -> nn.Module:
    """`module` with the weights of `read_weights`, strictly: every name and shape must agree. Values take the module's
    own dtype. None leaves the module as it was built, for training from scratch and for parts of a larger file."""
    if weights is None:
        return module
    loaded, own = read_weights(weights), module.state_dict()
    faults = {
        "missing": own.keys() - loaded.keys(),
        "unexpected": loaded.keys() - own.keys(),
        "of another shape": {n for n in own.keys() & loaded.keys() if own[n].shape != loaded[n].shape},
    }
    for fault, names in faults.items():
        if names:
            raise ValueError(
                f"{weights}: {len(names)} tensors {fault}, such as {min(names)}: weights of another model?"
            )
    module.load_state_dict(loaded)
    return module


def write_weights(folder: str | Path, weights: Mapping[str, Tensor]) -> None:
    """Half-precision safetensors shards in `folder`, which is replaced as a whole."""
    folder = Path(folder)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
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
    for i, shard in enumerate(shards, start=1):
        save_file(shard, partial / f"{i}-of-{len(shards)}.safetensors")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
