"""Reproduce the paper's figures, with numbers, confidence intervals and verdicts, on Toyland or with scale=paper.

python scripts/reproduce.py figure=distortion_editability
python scripts/reproduce.py figure=all budget=full
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="reproduce")
@command
def main(config: DictConfig) -> None:
    from launch.reproduction.reproduce import reproduce  # here, so that --help does not wait for torch

    reproduce(config)


if __name__ == "__main__":
    start(main, __doc__)
