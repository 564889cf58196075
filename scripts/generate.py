"""Paint prompts with learned words.

python scripts/generate.py word=runs/cat_toy/<time> prompt="a photo of S* on the moon"
"""

import hydra
from omegaconf import DictConfig

from launch.command import command


@hydra.main(version_base="1.3", config_path="../configs", config_name="generate")
@command
def main(config: DictConfig) -> None:
    from launch.generate import paint  # torch: seconds, which --help does without

    paint(config)


if __name__ == "__main__":
    main()
