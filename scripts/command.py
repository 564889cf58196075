"""What the commands of this folder share: a user's mistake ends in one sentence and a non-zero exit code."""

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

log = logging.getLogger("command")


def command(main: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Turns ValueErrors of `main`, also those from within `instantiate`, into `error: <what they say>` and exit code 1,
    and takes away a run folder that holds nothing yet but its log. HYDRA_FULL_ERROR=1 shows the traceback."""

    @functools.wraps(main)
    def guarded(config: DictConfig) -> None:
        with one_sentence(Path(HydraConfig.get().runtime.output_dir)):
            require_weights(config)
            main(config)

    return guarded


@contextmanager
def one_sentence(*runs: Path) -> Iterator[None]:
    """What `command` does about a mistake; `runs` are the folders to take away."""
    try:
        yield
    except (ValueError, InstantiationException) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        mistake = isinstance(cause, ValueError) or "unexpected keyword argument" in str(cause)
        if os.environ.get("HYDRA_FULL_ERROR") == "1" or not mistake:
            raise
        _give_up(str(cause), runs)
    except MissingMandatoryValue as error:
        _give_up(f"{error.full_key} has no value: add {error.full_key}=... to the command", runs)


def _give_up(why: str, runs: Iterable[Path]) -> NoReturn:
    log.error("error: %s", why)
    for run in runs:
        _remove_if_empty(run)
    sys.exit(1)


def require_weights(node: Any) -> None:
    """Raises ValueError if weights that `node` or anything in it loads are not there: before minutes are spent on
    building a model for them."""
    if isinstance(node, ListConfig):
        for item in node:
            require_weights(item)
    if not isinstance(node, DictConfig):
        return
    if node.get("_target_") == "ldm.checkpoint.pretrained" and node.get("weights") is not None:
        path = Path(node.weights)
        if not path.exists():
            raise ValueError(
                f"no weights at {path}. Published ones come with python scripts/fetch.py model=<name>; another place "
                f"is given as {node._get_full_key('weights')}=<file or folder>."
            )
    for key in node:
        if not OmegaConf.is_missing(node, key):
            require_weights(node[key])


def _remove_if_empty(run: Path) -> None:
    files = list(run.iterdir()) if run.is_dir() else []
    if all(file.suffix == ".log" for file in files):
        logging.shutdown()
        for file in files:
            file.unlink()
        with suppress(OSError):  # the folder above may hold other runs
            run.rmdir()
            run.parent.rmdir()
