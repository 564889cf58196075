"""Checkpoints of a pack: every run has its own file, from which it can go on alone or in a pack."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch

from ldm.files import replacing
from ldm.training.resumption import STATE, Checkpoint, StateFiles, read_state

from .pack import Pack

State = dict[str, Any]


def split_checkpoint(pack: Pack, checkpoint: State) -> list[State]:
    """Split the checkpoint of a pack into one checkpoint per run, as the run would have written it alone."""
    (optimizer,) = checkpoint["optimizer_states"]
    parts, first = [], 0
    for i, run in enumerate(pack.runs):
        own = optimizer["param_groups"][first : first + len(run.concepts)]
        number = {old: new for new, old in enumerate(old for group in own for old in group["params"])}
        groups = [group | {"params": [number[old] for old in group["params"]]} for group in own]
        state = {new: optimizer["state"][old] for old, new in number.items() if old in optimizer["state"]}
        part = checkpoint | {
            "state_dict": _renamed(checkpoint["state_dict"], f"runs.{i}.", ""),
            "optimizer_states": [{"state": state, "param_groups": groups}],
            "callbacks": _renamed(checkpoint["callbacks"], f"{i}/", ""),
        }
        run.on_save_checkpoint(part)
        parts.append(part)
        first += len(run.concepts)
    return parts


def join_checkpoints(pack: Pack, parts: Sequence[State]) -> State:
    """Join the checkpoints of the runs, all of the same step, into one of the pack. Raises UserError if a checkpoint
    is of another concept."""
    state_dict, state, groups, callbacks = {}, {}, [], {}
    count = 0
    for i, (run, part) in enumerate(zip(pack.runs, parts, strict=True)):
        run.on_load_checkpoint(part)
        (optimizer,) = part["optimizer_states"]
        state_dict |= _renamed(part["state_dict"], "", f"runs.{i}.")
        callbacks |= _renamed(part["callbacks"], "", f"{i}/")
        number = {old: count + old for group in optimizer["param_groups"] for old in group["params"]}
        state |= {number[old]: value for old, value in optimizer["state"].items()}
        groups += [group | {"params": [number[old] for old in group["params"]]} for group in optimizer["param_groups"]]
        count += len(number)
    return dict(parts[0]) | {
        "state_dict": state_dict,
        "optimizer_states": [{"state": state, "param_groups": groups}],
        "callbacks": callbacks,
    }


def _renamed(table: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return the entries whose names start with the prefix `old`, with the prefix `new` instead."""
    return {new + name.removeprefix(old): value for name, value in table.items() if name.startswith(old)}


class PackFiles(StateFiles):
    """Checkpoint IO of a pack's trainer. Saves the state of each run that is still training, with its entries of
    `records`, to last.ckpt in its folder; loads the states of all runs from `checkpoints`, in whose place Lightning
    knows the first."""

    def __init__(
        self, pack: Pack, folders: Sequence[Path], records: Sequence[State], checkpoints: Sequence[str]
    ) -> None:
        self.pack, self.folders, self.records, self.checkpoints = pack, folders, records, checkpoints

    def save_checkpoint(self, checkpoint: State, path: Any, storage_options: Any = None) -> None:
        parts = split_checkpoint(self.pack, checkpoint)
        for i in self.pack.still_training():
            with replacing(self.folders[i] / STATE) as partial:
                torch.save(parts[i] | self.records[i], partial)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = True) -> State:
        return join_checkpoints(self.pack, [read_state(file) for file in self.checkpoints])


class PackCheckpoint(Checkpoint):
    """A `Checkpoint` that leaves the files to `PackFiles`."""

    def write(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)
