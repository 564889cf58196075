"""Measure what this project claims about speed and memory.

python scripts/benchmark.py case=loading
"""

import hydra
from omegaconf import DictConfig

from launch.command import command


@hydra.main(version_base="1.3", config_path="../configs", config_name="benchmark")
@command
def main(config: DictConfig) -> None:
    from launch.benchmarks.measure import measure  # torch: seconds, which --help does without

    measure(config)


if __name__ == "__main__":
    main()
