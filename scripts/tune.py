"""Fine-tune the model around a learned word (pivotal tuning): S* is reproduced more closely. The result is a small file
with the difference to the model, which generate.py, edit.py, evaluate.py and others take as difference=<run folder>.

python scripts/tune.py word=runs/cat_toy/<time>
python scripts/tune.py word=cat.safetensors images=my/photos steps=50
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="tune")
@command
def main(config: DictConfig) -> None:
    from launch.tune import tune_around  # here, so that --help does not wait for torch

    tune_around(config)


if __name__ == "__main__":
    start(main, __doc__)
