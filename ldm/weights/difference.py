"""A difference: what fine-tuning has changed in the UNet of a model, in half precision, with the hash of the weights
that it belongs to. Base plus difference is the tuned model up to the rounding of each change: 1/2048 of it, or 3e-8."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ..errors import UserError
from ..files import write_whole
from ..latent_diffusion import LatentDiffusion
from .fingerprint import weights_hash
from .reading import read_content

FILE_NAME = "difference.safetensors"  # in a run folder of scripts/tune.py
FORMAT, FORMAT_VERSION = "difference", "1"


@dataclass(frozen=True, eq=False)
class Difference:
    """The `changes`, name -> float16, of the tensors of a UNet that were tuned. They belong to the `model` of that name
    whose UNet has the hash `weights`. `origin` says how they came about, as JSON values."""

    changes: dict[str, Tensor]
    model: str
    weights: str
    origin: Mapping[str, Any]

    @classmethod
    def between(cls, base: LatentDiffusion, tuned: LatentDiffusion, origin: Mapping[str, Any]) -> "Difference":
        """Subtract the UNets of two models in float32. Raises UserError if nothing differs, or if a change is not
        finite in float16."""
        before, changes = base.unet.state_dict(), {}
        for name, value in tuned.unet.state_dict().items():
            change = value.cpu() - before[name].cpu()
            if change.any():
                changes[name] = change.half().contiguous()
        if not changes:
            raise UserError("the tuning has changed nothing: raise the learning rate or the steps.")
        if not all(change.isfinite().all() for change in changes.values()):
            raise UserError("the tuned weights are not finite: lower the learning rate.")
        return cls(changes, base.name, weights_hash(base.unet), origin)

    def save(self, path: Path) -> int:
        """Write a safetensors file; it is complete or absent. Returns its size in bytes."""
        metadata = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "model": self.model,
            "weights": self.weights,
            "origin": json.dumps(dict(self.origin), allow_nan=False),
        }
        content = save(self.changes, metadata)
        write_whole(path, content)
        return len(content)

    @classmethod
    def load(cls, path: str | Path) -> "Difference":
        """Load the file `path`, or the one in the run folder `path`. Raises UserError if it cannot be read, or if it
        holds no difference."""
        path = Path(path) / FILE_NAME if Path(path).is_dir() else Path(path)
        if not path.is_file():
            raise UserError(f"there is no difference at {path}: give a run folder of scripts/tune.py, or its file.")
        content, metadata = read_content(path)
        if metadata.get("format") != FORMAT:
            raise UserError(f"{path} holds no difference: give the difference.safetensors of scripts/tune.py.")
        found = metadata.get("format_version")
        if found != FORMAT_VERSION:
            raise UserError(f"{path} has format version {found}, this code reads {FORMAT_VERSION}: update the code.")
        bad = [name for name, change in content.items() if change.dtype != torch.float16 or not change.isfinite().all()]
        try:
            if bad:
                raise ValueError(f"{bad[0]} holds no finite numbers of half precision")
            return cls(content, metadata["model"], metadata["weights"], json.loads(metadata["origin"]))
        except (KeyError, ValueError, RecursionError) as error:
            raise UserError(f"{path} is damaged ({error}): copy it again, or tune the model again.") from error

    @torch.no_grad()
    def add_to(self, ldm: LatentDiffusion, source: str | Path) -> None:
        """Add the changes to the UNet of `ldm` in place. The UNet is then in float32: half precision would round small
        changes away. Raises UserError, which names the file `source`, if they belong to other weights; the model then
        stays as it was."""
        own, state = weights_hash(ldm.unet, torch.float32), ldm.unet.state_dict()
        if self.weights != own:
            raise UserError(
                f"{source} is the difference to another model, {self.model} with weights {self.weights}, but this is "
                f"{ldm.name} with weights {own}. Use the model that was tuned."
            )
        for name, change in self.changes.items():
            if name not in state or state[name].shape != change.shape:
                raise UserError(f"{source} is damaged ({name} does not fit): copy it again, or tune the model again.")
        state = ldm.unet.float().state_dict()
        for name, change in self.changes.items():
            state[name] += change.to(state[name])
