"""Look into a learned word: the nearest words, its length, the images between its initializer and it, and where in an
image it is attended to.

python scripts/read_word.py word=runs/cat_toy/<time>
python scripts/read_word.py word=cat.safetensors other=dog.safetensors prompt="a photo of {} in the snow"
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="read_word")
@command
def main(config: DictConfig) -> None:
    from launch.read_word import read_word  # here, so that --help does not wait for torch

    read_word(config)


if __name__ == "__main__":
    start(main, __doc__)
