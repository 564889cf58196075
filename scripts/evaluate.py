"""The paper's two metrics of a learned word, or of what stands in for one.

python scripts/evaluate.py word=runs/cat_toy/<time>
python scripts/evaluate.py subject=long_captions images=assets/concepts/cat_toy
"""

import hydra
from omegaconf import DictConfig

from launch.command import command


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
@command
def main(config: DictConfig) -> None:
    from launch.evaluate import evaluate  # torch: seconds, which --help does without

    evaluate(config)


if __name__ == "__main__":
    main()
