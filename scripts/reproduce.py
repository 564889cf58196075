"""The paper's figures with numbers, intervals and verdicts: on Toyland on a laptop, with scale=paper on a GPU.

python scripts/reproduce.py figure=distortion_editability
python scripts/reproduce.py figure=all budget=full
"""

import hydra
from omegaconf import DictConfig

from launch.command import command


@hydra.main(version_base="1.3", config_path="../configs", config_name="reproduce")
@command
def main(config: DictConfig) -> None:
    from launch.reproduction.reproduce import reproduce  # torch: seconds, which --help does without

    reproduce(config)


if __name__ == "__main__":
    main()
