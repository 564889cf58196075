"""Learn a new word from images, or train one of the models described in configs/experiment.

python scripts/train.py experiment=cat_toy
python scripts/train.py experiment=cat_toy concept.images=/my/photos concept.initializer=teapot
python scripts/train.py experiment=cat_toy optim.lr=0.01,0.02 launcher=packed
python scripts/train.py sweep.resume=<folder of a sweep>
"""

import sys

import hydra
from omegaconf import DictConfig

from launch import gpus, jobs, plugins, recorded
from launch.command import command, require_experiment, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
@command
def main(config: DictConfig) -> float | list[float] | None:
    require_experiment()
    if config.own_gpu:
        gpus.take_one()
    from launch.training import train  # here, so that --help does not wait for torch

    return train(jobs.resolved_config(config))


if __name__ == "__main__":
    plugins.register()
    sys.argv[1:] = recorded.with_resumed_sweep(sys.argv[1:])
    start(main, __doc__)
