"""Download published weights and convert them to the file that the other commands read.

python scripts/fetch.py model=ldm_1p4b
python scripts/fetch.py model=ldm_1p4b source=original
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs/fetch", config_name="fetch")
@command
def main(config: DictConfig) -> None:
    from launch.fetch import fetch  # here, so that --help does not wait for torch

    fetch(config)


if __name__ == "__main__":
    start(main, __doc__)
