"""Generate a part of a picture anew from a prompt (Blended Latent Diffusion); the rest keeps its pixels.

python scripts/edit.py image=desk.jpg mask=mask.png word=runs/cat_toy/<time> prompt="a photo of S* on a wooden table"
python scripts/edit.py image=desk.jpg mask=[0.2,0.3,0.8,0.9] prompt="a photo of a red mug on a wooden table" best=2
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="edit")
@command
def main(config: DictConfig) -> None:
    from launch.edit import edit  # here, so that --help does not wait for torch

    edit(config)


if __name__ == "__main__":
    start(main, __doc__)
