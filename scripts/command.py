"""What the commands of this folder share: a user's mistake ends in one sentence and a non-zero exit code."""

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue

log = logging.getLogger("command")


def command(main: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Turns ValueErrors of `main`, also those from within `instantiate`, into `error: <what they say>` and exit code 1,
    and takes away a run folder that holds nothing yet but its log. HYDRA_FULL_ERROR=1 shows the traceback."""

    @functools.wraps(main)
    def guarded(config: DictConfig) -> None:
        try:
            main(config)
        except (ValueError, InstantiationException) as error:
            cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
            mistake = isinstance(cause, ValueError) or "unexpected keyword argument" in str(cause)
            if os.environ.get("HYDRA_FULL_ERROR") == "1" or not mistake:
                raise
            log.error("error: %s", cause)
            _remove_if_empty(Path(HydraConfig.get().runtime.output_dir))
            sys.exit(1)
        except MissingMandatoryValue as error:
            log.error("error: %s has no value: add %s=... to the command", error.full_key, error.full_key)
            _remove_if_empty(Path(HydraConfig.get().runtime.output_dir))
            sys.exit(1)

    return guarded


def _remove_if_empty(run: Path) -> None:
    files = list(run.iterdir()) if run.is_dir() else []
    if all(file.suffix == ".log" for file in files):
        logging.shutdown()
        for file in files:
            file.unlink()
        run.rmdir()
