"""What the values of settings must be. They are checked before anything is built, since building a model takes minutes,
and some values are first used after the last step."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from omegaconf import DictConfig, ListConfig

from ldm.errors import (
    UserError,
    require_not_negative,
    require_number,
    require_positive,
    require_switch,
    require_text,
    require_whole,
)

Check = Callable[[str, Any], None]


def _require_string(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise UserError(f'{name} is {value!r}: give a text, or "" for none.')


def _all(names: str, check: Check) -> dict[str, Check]:
    return dict.fromkeys(names.split(), check)


# By the setting's dotted name, or else by the last part of it. A list is checked entry by entry.
CHECKS: dict[str, Check] = {
    **_all("seed index at_steps num_workers warmup num_sanity_val_steps", partial(require_whole, least=0)),
    **_all(
        "steps max_steps every_steps every batch_size samples_a_step num_vectors first count columns samples "
        "prompt_samples image_size val_size num_nodes patience pack candidates ddim_steps pictures_each frechet "
        "validation_draws rounds sampling_steps between shown best port module.schedule.decay",
        partial(require_whole, least=1),
    ),
    **_all("guidance eta", require_number),
    **_all("lr learning_rate every_minutes val_check_interval gigabytes minutes min_snr_gamma", require_positive),
    **_all("weight weight_decay min_delta module.blur module.noise", require_not_negative),
    **_all("flip own_gpu", require_switch),
    "negative_prompt": _require_string,
    **_all(
        "placeholder initializer image images start folder prompt prompts templates word against weights cells cache "
        "models assets run from prompt_file start_from vocabulary reconstruction other noise source difference",
        require_text,
    ),
}
RATES = "rates"  # every setting in it is a learning rate
# Settings that may be null
OPTIONAL = frozenset(
    (
        "first best images start word other weights from prompt_file start_from min_snr_gamma noise source difference"
    ).split()
)


def require_settings(config: DictConfig) -> None:
    """Raise UserError for a setting whose value has the wrong type or is out of range. Values that are interpolations
    are checked where they come from; missing ones are reported when they are read."""
    for path, value in _values(config):
        *above, name = path.split(".")
        check = require_positive if above[-1:] == [RATES] else CHECKS.get(path, CHECKS.get(name))
        if check is None or (value is None and name in OPTIONAL):
            continue
        if isinstance(value, DictConfig):
            raise UserError(f"{path} has parts ({', '.join(map(str, value))}): give one value.")
        for one in value if isinstance(value, ListConfig) else [value]:
            if not isinstance(one, DictConfig):
                check(path, one)


def _values(node: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of every setting that the config `node` gives itself. Parts that build an object are
    not values, nor are callbacks."""
    names = node if isinstance(node, DictConfig) else range(len(node))
    for name in names:
        path = f"{before}{name}"
        child: Any = node._get_node(name)
        if child._is_missing() or child._is_interpolation():
            continue
        parts = isinstance(child, DictConfig | ListConfig) and not child._is_none()
        object_to_be = isinstance(child, DictConfig) and (child._is_none() or "_target_" in child)
        if isinstance(name, str) and not object_to_be and before != "callbacks.":
            yield path, node[name]
        if parts:
            yield from _values(child, f"{path}.")
