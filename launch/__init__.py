"""Turns a config into a finished run. Importing this package registers the OmegaConf resolvers that the configs use."""

from typing import Any

from hydra.utils import get_object
from omegaconf import OmegaConf

from ldm import PROJECT

from . import folders, gpus, shell

CONFIGS = PROJECT / "configs"


def find_value(path: str) -> Any:
    """Return the Python object with that dotted name as a config value, so that a config can read a value that the
    code needs as well: `${value:textual_inversion.scales.TOYLAND.guidance}`."""
    value = get_object(path)
    if isinstance(value, tuple):
        return OmegaConf.create(list(value))
    return value if isinstance(value, bool | int | float) else str(value)


OmegaConf.register_new_resolver("value", find_value, replace=True)
OmegaConf.register_new_resolver("project", lambda: str(PROJECT), replace=True)
OmegaConf.register_new_resolver("script", shell.script, replace=True)
OmegaConf.register_new_resolver("fresh", folders.fresh, replace=True)
OmegaConf.register_new_resolver("gpus", lambda: max(1, len(gpus.visible_gpus())), replace=True)
