"""One of the processes that train a job together; `processes.run_together` starts it.

python -m launch.rank <resolved config>
"""

import logging
import sys
from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

from .command import one_sentence
from .jobs import rank
from .processes import end_with_parent
from .training import fit


def main(path: Path) -> None:
    config = cast(DictConfig, OmegaConf.load(path))
    end_with_parent()
    level = logging.INFO if rank() == 0 else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout)
    if rank() == 0:
        logging.getLogger().addHandler(logging.FileHandler(path.with_name("train.log"), encoding="utf-8"))
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with one_sentence():
        fit(config)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
