"""Export a model as a folder that diffusers loads as a pipeline.

python scripts/export.py scale=paper folder=/my/pipeline
python scripts/export.py scale=toyland folder=toyland
"""

import logging
from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from launch.command import command, start

log = logging.getLogger("export")


@hydra.main(version_base="1.3", config_path="../configs", config_name="export")
@command
def main(config: DictConfig) -> None:
    from ldm.weights.diffusers_pipeline import save_pipeline  # here, so that --help does not wait for torch

    folder = Path(config.folder)
    save_pipeline(folder, instantiate(config.module.ldm, _convert_="all").eval())
    log.info("diffusers can load %s", folder)


if __name__ == "__main__":
    start(main, __doc__)
