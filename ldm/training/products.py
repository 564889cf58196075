"""The files that a training makes after its last step, and a record of them, so that a run that was stopped meanwhile
makes those that are missing when it goes on."""

import hashlib
import json
from pathlib import Path

import pytorch_lightning as L
from pytorch_lightning.loops.fit_loop import _FitLoop
from torch import Tensor

from ..files import read_json, write_json

RECORD = "products.json"


class Products:
    """The record in `folder`: name of the file -> what it was made of, as `made_of` returns it."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def has(self, name: str, of: str) -> bool:
        """Return whether the file is there, whole, and made of the same."""
        return self._read().get(name) == of and (self.folder / name).is_file()

    def add(self, name: str, of: str) -> None:
        write_json(self.folder / RECORD, self._read() | {name: of})

    def _read(self) -> dict[str, str]:
        found = read_json(self.folder / RECORD)
        return found if isinstance(found, dict) else {}


def made_of(vectors: Tensor, *settings: object) -> str:
    """Return a hash of learned vectors [k, d] and of the settings (JSON values) of what is made of them."""
    digest = hashlib.sha256(vectors.detach().cpu().contiguous().numpy().tobytes())
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()[:16]


class _Ending(_FitLoop):
    @property
    def skip(self) -> bool:
        return False


def always_end(trainer: L.Trainer) -> None:
    """Let `trainer.fit` call on_train_start and on_train_end when it resumes from the state of the last step. Lightning
    would call neither, and what the callbacks make at the end would be lost."""
    trainer.fit_loop.__class__ = _Ending
