"""Measure what this project claims about speed and memory.

python scripts/benchmark.py case=loading
"""

import json
import logging
import os
from pathlib import Path

import hydra
from benchmarks.timing import hardware
from command import command
from hydra.core.hydra_config import HydraConfig
from hydra.utils import call
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger("benchmark")


@hydra.main(version_base="1.3", config_path="../configs", config_name="benchmark")
@command
def main(config: DictConfig) -> None:
    folder, case = Path(HydraConfig.get().runtime.output_dir), HydraConfig.get().runtime.choices["case"]
    results = call(config.case, folder=folder, _convert_="all")
    settings = OmegaConf.to_container(config.case, resolve=True)
    record = {"case": case, "settings": settings, "hardware": hardware(), "results": results}
    (folder / "results.json").write_text(json.dumps(record, indent=2))
    for name, values in results.items():
        log.info("%s: %s", name, ", ".join(f"{key} {value:,.3g}" for key, value in values.items()))
    log.info("%s", os.path.relpath(folder / "results.json"))


if __name__ == "__main__":
    main()
