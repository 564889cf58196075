"""Compute the numbers of the model card, assets/toyland/README.md: how well Toyland's model follows prompts, and how
close its images are to rendered ones.

python scripts/score.py
python scripts/score.py ldm.weights=runs/toyland_ldm/weights inversion.concepts=[]
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="score")
@command
def main(config: DictConfig) -> None:
    from launch.scoring.score import score  # here, so that --help does not wait for torch

    score(config)


if __name__ == "__main__":
    start(main, __doc__)
