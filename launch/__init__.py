"""From a config to a finished run. Importing it teaches OmegaConf the interpolations that the configs use."""

from pathlib import Path

from omegaconf import OmegaConf

from . import folders, gpus

PROJECT = Path(__file__).resolve().parents[1]  # with configs/ and assets/
CONFIGS = PROJECT / "configs"

OmegaConf.register_new_resolver("project", lambda: str(PROJECT), replace=True)
OmegaConf.register_new_resolver("fresh", folders.fresh, replace=True)
OmegaConf.register_new_resolver("gpus", lambda: max(1, len(gpus.visible_gpus())), replace=True)
