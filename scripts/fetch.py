"""Download published weights and convert them, once, to the file that the other commands read.

python scripts/fetch.py model=ldm_1p4b
"""

import hydra
from omegaconf import DictConfig

from launch.command import command


@hydra.main(version_base="1.3", config_path="../configs/fetch", config_name="fetch")
@command
def main(config: DictConfig) -> None:
    from launch.fetch import fetch  # torch: seconds, which --help does without

    fetch(config)


if __name__ == "__main__":
    main()
