"""Open a page in the browser that learns words from pictures, generates and edits pictures with them, and reads them.

python scripts/app.py
python scripts/app.py port=8000 scale=ldm_1p4b
"""

import hydra
from omegaconf import DictConfig

from launch.command import command, start


@hydra.main(version_base="1.3", config_path="../configs", config_name="app")
@command
def main(config: DictConfig) -> None:
    from launch.app.page import serve  # here, so that --help does not wait for torch

    serve(config)


if __name__ == "__main__":
    start(main, __doc__)
