"""The numbers of the model card, assets/toyland/README.md.

python scripts/score.py
"""

import hydra
from omegaconf import DictConfig

from launch.command import command


@hydra.main(version_base="1.3", config_path="../configs", config_name="score")
@command
def main(config: DictConfig) -> None:
    from launch.score import score  # torch: seconds, which --help does without

    score(config)


if __name__ == "__main__":
    main()
