"""The entry point of each process that trains a job together with others; `processes.run_together` starts it.

python -m launch.rank <resolved config>
"""

import logging
import sys
from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

from .command import prepare_logging, report_mistakes
from .jobs import end_with_parent, rank
from .training import fit


def main(path: Path) -> None:
    config = cast(DictConfig, OmegaConf.load(path))
    end_with_parent()
    level = logging.INFO if rank() == 0 else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout)
    if rank() == 0:
        logging.getLogger().addHandler(logging.FileHandler(path.with_name("train.log"), encoding="utf-8"))
    prepare_logging()
    with report_mistakes():
        fit(config)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
