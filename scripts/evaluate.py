"""Compute the paper's two metrics, likeness and editability, for a learned word or a baseline.

python scripts/evaluate.py word=runs/cat_toy/<time>
python scripts/evaluate.py subject=long_captions images=assets/concepts/cat_toy
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
@command
def main(config: DictConfig) -> None:
    from launch.evaluate import evaluate  # here, so that --help does not wait for torch

    evaluate(config)


if __name__ == "__main__":
    start(main, __doc__)
