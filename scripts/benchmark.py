"""Measure speed and memory, compare them with diffusers on the same weights, and record them with the hardware.

python scripts/benchmark.py case=inversion
python scripts/benchmark.py case=loading case.gigabytes=0.1
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="benchmark")
@command
def main(config: DictConfig) -> None:
    from launch.benchmarks.measure import measure  # here, so that --help does not wait for torch

    measure(config)


if __name__ == "__main__":
    start(main, __doc__)
