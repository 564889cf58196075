"""Write a model as a pipeline's folder for diffusers.

python scripts/export.py scale=paper folder=/my/pipeline
"""

import logging
from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from launch.command import command

log = logging.getLogger("export")


@hydra.main(version_base="1.3", config_path="../configs", config_name="export")
@command
def main(config: DictConfig) -> None:
    from ldm.weights.diffusers_pipeline import save_pipeline  # torch: seconds, which --help does without

    folder = Path(config.folder)
    save_pipeline(folder, instantiate(config.module.ldm, _convert_="all").eval())
    log.info("%s is ready for diffusers", folder)


if __name__ == "__main__":
    main()
