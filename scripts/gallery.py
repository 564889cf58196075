"""Make the pictures of README's gallery: variations, places, styles, two words, an edit, looks, and the learning as an
animation.

python scripts/gallery.py
python scripts/gallery.py count=4 seed=1
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="gallery")
@command
def main(config: DictConfig) -> None:
    from launch.gallery import make_gallery  # here, so that --help does not wait for torch

    make_gallery(config)


if __name__ == "__main__":
    start(main, __doc__)
