"""scripts/benchmark.py: run a case and write its results with the settings and the hardware."""

import json
import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import call
from omegaconf import DictConfig, OmegaConf

from ldm.files import relative

from .timing import hardware

log = logging.getLogger("benchmark")


def measure(config: DictConfig) -> None:
    """Run the case of the config and write results.json to the run folder."""
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
    log.info("%s", relative(folder / "results.json"))
