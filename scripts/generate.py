"""Generate images from prompts, with or without learned words.

python scripts/generate.py word=runs/cat_toy/<time> prompt="a photo of S* on the moon"
python scripts/generate.py prompt="[a photo of a cat, a pencil sketch of a cat]" count=3 sampler=dpm_solver
python scripts/generate.py word="{<cat>: cat.safetensors, <oil>: oil.pt}" prompt="<cat> in the style of <oil>"
python scripts/generate.py prompt_file=prompts.txt negative_prompt="blue, snow" count=16 best=4
python scripts/generate.py from=picture.png guidance=3

A picture holds what it was made from: from= makes it again, with the settings that stand beside it.
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="generate")
@command
def main(config: DictConfig) -> None:
    from launch.generate import generate  # here, so that --help does not wait for torch

    generate(config)


if __name__ == "__main__":
    start(main, __doc__)
