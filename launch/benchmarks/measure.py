"""What scripts/benchmark.py does: measures a case and writes down the numbers, on what, and with which settings."""

import json
import logging
import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import call
from omegaconf import DictConfig, OmegaConf

from .timing import hardware

log = logging.getLogger("benchmark")


def measure(config: DictConfig) -> None:
    """The command: `results.json` in the run folder."""
    folder, case = Path(HydraConfig.get().runtime.output_dir), HydraConfig.get().runtime.choices["case"]
    results = call(config.case, folder=folder, _convert_="all")
    settings = OmegaConf.to_container(config.case, resolve=True)
    record = {"case": case, "settings": settings, "hardware": hardware(), "results": results}
    (folder / "results.json").write_text(json.dumps(record, indent=2))
    for name, values in results.items():
        log.info(
            "%s: %s",
            name,
            ", ".join(f"{key} {value:,.3g}" for key, value in values.items() if isinstance(value, float)),
        )
    log.info("%s", os.path.relpath(folder / "results.json"))
