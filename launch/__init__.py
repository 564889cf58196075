"""Turns a config into a finished run. Importing this package registers the OmegaConf resolvers that the configs use."""

from pathlib import Path

from omegaconf import OmegaConf

from . import folders, gpus

PROJECT = Path(__file__).resolve().parents[1]  # contains configs/ and assets/
CONFIGS = PROJECT / "configs"

OmegaConf.register_new_resolver("project", lambda: str(PROJECT), replace=True)
OmegaConf.register_new_resolver("fresh", folders.fresh, replace=True)
OmegaConf.register_new_resolver("gpus", lambda: max(1, len(gpus.visible_gpus())), replace=True)
