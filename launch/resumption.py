"""The settings that shape the result of a training. Its checkpoints record them, and a training that goes on with other
ones is refused, unless `resume.accept` names what has changed."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf

from ldm.errors import UserError
from ldm.training.resumption import STATE, read_state

from .processes import process_count
from .reproduction.hashes import by_content

SHAPING = ("seed", "start_from", "data", "module", "trainer", "callbacks.ema", "callbacks.early_stop")
# What may change freely: the number of steps and what follows from it, devices (`batch_size` is compared for all of
# them together), logging, and what only watches the training.
_OF_TRAINER = (
    "_target_ accelerator devices num_nodes strategy max_steps max_epochs max_time val_check_interval logger "
    "check_val_every_n_epoch num_sanity_val_steps log_every_n_steps enable_checkpointing enable_model_summary "
    "enable_progress_bar use_distributed_sampler limit_val_batches"
)
FREE = {
    *(
        "module.steps",
        "module.schedule.total",
        "module.compiled",
        "module.checkpointing",
        "module.validation_draws",
        "data.num_workers",
    ),
    *("data.folder", "data.val", "data.val_size", "data.train.folder"),
    *(f"trainer.{name}" for name in _OF_TRAINER.split()),
}
# Optimisers of another kind cannot go on with the state, even if that is accepted.
OF_STATE = {"module.optimizer._target_", "module.optimizer.amsgrad"}
_HASHED = {name: name for name in ("weights", "vocabulary", "start_from")} | {
    "images": "pictures",
    "templates": "sentences",
}
_REFERENCE = re.compile(r"\$\{([\w.@]+)\}")


@dataclass(frozen=True)
class Resumption:
    """How a training begins: from a `checkpoint` after a `step`, or (None) anew; with which `settings` (name -> value),
    and with which `changes` since its first step, each {"step": number, name: [old value, new value]}."""

    checkpoint: str | None
    step: int
    settings: dict[str, Any]
    changes: list[dict[str, Any]]

    @property
    def record(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"settings": self.settings, "changes": self.changes}


def checkpoint_to_resume(resume: Any, run: Path) -> str | None:
    """Return the checkpoint to resume from, or None. `resume` is the setting of that name: a mapping whose `from` is,
    or itself, "auto" (the checkpoint in the run folder, if any), the path of an existing checkpoint, or None."""
    origin = resume.get("from", "auto") if isinstance(resume, Mapping | DictConfig) else resume
    if origin is None:
        return None
    path = run / STATE if origin == "auto" else Path(str(origin))
    if path.is_file():
        return str(path)
    if origin == "auto":
        return None
    raise UserError(f"resume={origin}: the checkpoint does not exist; remove the setting to start anew.")


def resumption(config: DictConfig, module: Any) -> Resumption:
    """Return how the training of `module` with this resolved config begins. Raises UserError if the checkpoint was
    trained with other settings that `resume.accept` does not name."""
    settings = shaping_settings(config, module)
    checkpoint = checkpoint_to_resume(config.resume, Path(config.paths.run))
    if checkpoint is None:
        return Resumption(None, 0, settings, [])
    state = read_state(checkpoint)
    before = state.get("settings", settings)  # checkpoints of earlier versions do not record them
    unlike = {key: (before.get(key), settings.get(key)) for key in settings.keys() | before.keys()}
    unlike = {key: values for key, values in sorted(unlike.items()) if values[0] != values[1]}
    known_as = {key: list(_names(key, config.job.get("known_as") or {})) for key in unlike}
    accept = list(config.resume.get("accept") or []) if isinstance(config.resume, DictConfig) else []
    refused = {
        min(known_as[key], key=len): values
        for key, values in unlike.items()
        if not any(_is_part(name, accept) for name in known_as[key])
    }
    if refused:
        said = "; ".join(_difference(name, *values) for name, values in refused.items())
        raise UserError(
            f"{checkpoint} was trained with other settings: {said}. To start anew, add resume=null or choose another "
            f"folder; to go on with the new values, add 'resume.accept=[{','.join(refused)}]'."
        )
    changes = list(state.get("changes", []))
    if unlike:
        _require_same_state(checkpoint, state, module, unlike)
        values = {min(known_as[key], key=len): [*values] for key, values in unlike.items()}
        changes.append({"step": state["global_step"], **values})
    return Resumption(checkpoint, state["global_step"], settings, changes)


def _require_same_state(checkpoint: str, state: Mapping[str, Any], module: Any, unlike: Iterable[str]) -> None:
    """Raise UserError if what was accepted needs weights, or a state of the optimiser, that the checkpoint lacks."""
    shapes = [{n: tuple(v.shape) for n, v in weights.items()} for weights in (state["state_dict"], module.state_dict())]
    others = [name for name in unlike if name in OF_STATE]
    if others or shapes[0] != shapes[1]:
        what = f"another {'kind of optimiser' if others else 'model'}"
        raise UserError(f"{checkpoint} holds the state of {what}, which cannot go on: add resume=null to start anew.")


def _difference(name: str, old: Any, new: Any) -> str:
    what = _HASHED.get(name.split(".")[-1])
    return f"{name} (other {what})" if what else f"{name} was {_short(old)} and is {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def shaping_settings(config: DictConfig, module: Any) -> dict[str, Any]:
    """Return the settings that shape the result, dotted name -> JSON value, with hashes for the pictures and sentences
    of concepts and for files of weights. `batch_size` counts the samples of all processes."""
    whole = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    callbacks = whole.get("callbacks") or {}
    free = FREE - {"trainer.val_check_interval"} if callbacks.get("early_stop") else FREE
    found = {
        name: _content(name, value)
        for name, value in _leaves(whole, "")
        if _is_part(name, SHAPING) and not _is_part(name, free)
    }
    for name in {"module.batch_size", "data.batch_size"} & found.keys():
        found[name] *= process_count(config)
    if "data.batch_size" in found:  # the processes of a pretraining draw batches and noise of their own
        found["processes"] = process_count(config)
    for i, pictures in enumerate(getattr(module, "pictures", ())):
        found[f"module.concepts.{i}.images"] = _hash(pictures.images.tobytes())
        found.pop(f"module.concepts.{i}.first", None)
    return found


def _is_part(name: str, of: Iterable[str]) -> bool:
    return any(f"{name}.".startswith(f"{part}.") for part in of)


def _leaves(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of all values; a list of sentences is one value."""
    if isinstance(node, dict | list) and node and not name.endswith(".templates"):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(child, f"{name}.{key}" if name else str(key))
    else:
        yield name, node


def _content(name: str, value: Any) -> Any:
    """Return the value, or a hash of what it says or names."""
    if name.endswith(".templates"):
        return _hash(json.dumps(value).encode())
    key = "weights" if name == "start_from" else name.rpartition(".")[2]
    return by_content({key: value}, beside=False).get(key)  # what is not given at all is left out


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _names(key: str, known_as: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of a setting, from that of the config's own node to the one that a command line sets."""
    yield key
    before = max((part for part in known_as if _is_part(key, [part])), key=len, default=None)
    if before is not None:
        yield from _names(known_as[before] + key.removeprefix(before), known_as)


def references(config: DictConfig) -> dict[str, str]:
    """Return which values of the unresolved config only repeat another one: {"concept.learning_rate": "optim.lr"}."""
    found: dict[str, str] = {}
    todo = [name for name in SHAPING if OmegaConf.select(config, name, throw_on_missing=False) is not None]
    while todo:
        name = todo.pop()
        for key, target in _references(_node(config, name), name):
            if key not in found:
                found[key] = target
                todo.append(target)
    return found


def _references(node: Any, name: str) -> Iterator[tuple[str, str]]:
    if node is not None and node._is_interpolation():
        if reference := _REFERENCE.fullmatch(str(node._value())):
            yield name, reference[1]
    elif isinstance(node, DictConfig | ListConfig) and not node._is_none() and not node._is_missing():
        for key in node if isinstance(node, DictConfig) else range(len(node)):
            yield from _references(_node(node, str(key)), f"{name}.{key}")


def _node(config: DictConfig | ListConfig, name: str) -> Any:
    node: Any = config
    for part in name.split("."):
        if not OmegaConf.is_config(node) or node._is_none() or node._is_missing() or node._is_interpolation():
            return None
        node = node._get_node(int(part) if part.isdigit() else part)
    return node
