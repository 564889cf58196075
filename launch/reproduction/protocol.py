"""The protocol of the experiments: all that is decided before the first number is computed. These are the concepts,
seeds, steps, rates, prompts and metrics, and the claims with their tests and margins. A folder of results holds its
protocol, and no results of another one."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from ldm.errors import UserError
from ldm.files import read_json, write_json
from textual_inversion.evaluation.claims import PAPER

from .. import CONFIGS
from .cells import Cell, CellStore
from .hashes import of_evaluation, of_word, value_hash, weights_in, without_files

PROTOCOL = "protocol.json"
NAMED = 3  # number of differences that a message names
_IN_ANY = "cat_toy"  # the concept whose configs show what is common to all concepts
_SHOWN = ("draw", "_partial_")  # parts of a figure that change no number
_FREE = ("pack",)  # parts of a budget that change no number


def resolve_protocol(config: DictConfig, store: CellStore) -> dict[str, Any]:
    """Return the protocol of the config, as JSON values: its figures, its budget, how words are learned and evaluated,
    and the options that figures choose in other groups of configs, such as setups. It does not depend on the weights,
    or on which figures are asked for."""
    parts = OmegaConf.masked_copy(config, ["name", "learn", "evaluate", "images", "budget", "figures", "paths"])
    parts.paths = OmegaConf.masked_copy(parts.paths, "assets")
    every = cast(dict[str, Any], OmegaConf.to_container(parts, resolve=True, throw_on_missing=True))
    figures = {
        name: {key: value for key, value in without_files(figure).items() if key not in _SHOWN}
        for name, figure in every["figures"].items()
    }
    learn, evaluate = store.compose_training(Cell(_IN_ANY, 0)), store.evaluation_config(Cell(_IN_ANY, 0))
    chosen = [one for _, one in _flat([figures, every["budget"], every["learn"], every["evaluate"]])]
    return {
        **{name: every[name] for name in ("name", "learn", "evaluate", "images")},
        "budget": {key: value for key, value in every["budget"].items() if key not in _FREE},
        "figures": figures,
        "word": without_files(of_word(learn)) | {"rates": _select(learn, "rates")},
        "evaluation": without_files(of_evaluation(evaluate)) | {"pivotal": _select(evaluate, "pivotal")},
        "options": dict(sorted(pair for one in chosen if isinstance(one, str) for pair in _options(one))),
    }


def _select(config: DictConfig, name: str) -> Any:
    return OmegaConf.to_container(config[name], resolve=True)


def _options(override: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and the content of the option that an override such as setup=two chooses, and of the options that
    this one chooses in turn."""
    group, _, option = override.removeprefix("override ").lstrip("/+").partition("=")
    file = CONFIGS / group.partition("@")[0] / f"{option}.yaml"
    if not option or not file.is_file():
        return
    content = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file)))
    yield f"{group}/{option}", content
    for default in content.get("defaults", []):
        for further, value in default.items() if isinstance(default, dict) else []:
            yield from _options(f"{further}={value}")


def _flat(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings and sequences, with dotted names."""
    if isinstance(node, Mapping | list) and node:
        for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, node


def _changes(one: Any, other: Any) -> dict[str, Any]:
    """Return the values of `other` that `one` does not have, by their dotted names; None for values only in `one`."""
    before, after = dict(_flat(one)), dict(_flat(other))
    names = [*after, *(name for name in before if name not in after)]
    return {name: after.get(name) for name in names if name not in before or before[name] != after.get(name)}


def protocol_hash(protocol: Mapping[str, Any]) -> str:
    """Return the hash of a protocol."""
    return value_hash(dict(protocol))


def weights_of(config: DictConfig, store: CellStore) -> dict[str, str]:
    """Return the hashes of all weights that the cells and the figures load: name -> hash."""
    cell = Cell(_IN_ANY, 0)
    nodes = [of_evaluation(store.evaluation_config(cell)), OmegaConf.to_container(config.figures, resolve=True)]
    return {name: found for node in nodes for name, found in sorted(weights_in(node).items())}


def claim_folder(folder: Path, protocol: Mapping[str, Any], weights: Mapping[str, str]) -> None:
    """Write the protocol into the folder of the results. Raises UserError if it holds results of another protocol or of
    other weights, since claims.md would mix their verdicts."""
    record = {"hash": protocol_hash(protocol), "weights": dict(weights), "protocol": dict(protocol)}
    earlier = read_json(folder / PROTOCOL)
    if isinstance(earlier, dict):
        require_same(folder, earlier, record)
    elif any(folder.glob("*.claims.json")):
        raise UserError(
            f"{folder} holds results without a readable {PROTOCOL}, so they may be of another protocol: choose another "
            "folder (hydra.run.dir=...)."
        )
    write_json(folder / PROTOCOL, record)


def require_same(folder: Path, earlier: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Raise a UserError that names the differences, unless both records are of the same protocol and weights."""
    before, now = ({key: each.get(key) for key in ("protocol", "weights")} for each in (earlier, record))
    known, changes = dict(_flat(before)), _changes(before, now)
    if not changes:
        return
    said = [f"{name.partition('.')[2]} was {known.get(name)!r}, is {value!r}" for name, value in changes.items()]
    more = f"; and {len(said) - NAMED} more" if len(said) > NAMED else ""
    raise UserError(
        f"{folder} holds results of another protocol ({'; '.join(said[:NAMED])}{more}). Keep them, and choose another "
        "folder (hydra.run.dir=...)."
    )


def families(record: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of claims of each family in the protocol of a record, over all figures."""
    claims = [claim for figure in record["protocol"]["figures"].values() for claim in figure["claims"]]
    return dict(Counter(claim.get("family", PAPER) for claim in claims))
