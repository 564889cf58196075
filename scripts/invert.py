"""Find the noise of a picture (DDIM inversion), make the picture from it again, and again under other words.

python scripts/invert.py image=cat.jpg source="a photo of a cat" prompt="a photo of a dog"
python scripts/invert.py image=cat.jpg word=runs/cat_toy/<time> source="a photo of S*" prompt="S* on the moon"
python scripts/invert.py noise=runs/invert/<time> prompt="an oil painting of a cat"
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="invert")
@command
def main(config: DictConfig) -> None:
    from launch.invert import invert  # here, so that --help does not wait for torch

    invert(config)


if __name__ == "__main__":
    start(main, __doc__)
