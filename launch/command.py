"""What the commands of scripts/ share: a user's mistake ends in one sentence and a non-zero exit code."""

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from . import folders, jobs

log = logging.getLogger("command")

STOPPED = 143  # the exit code of a process that SIGTERM has ended


def command(main: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Turns ValueErrors of `main`, also those from within `instantiate`, into `error: <what they say>` and exit code 1,
    and takes away the run folder, if it has made it and it holds nothing yet but its log. In a sweep the others go on,
    and the job's folder keeps what became of it. HYDRA_FULL_ERROR=1 shows the traceback."""

    @functools.wraps(main)
    def guarded(config: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        if not jobs.in_sweep():
            with one_sentence(folder):
                require_weights(config)
                main(config)
            return
        with jobs.recorded(folder, jobs.own_overrides()), said_in_log():
            require_weights(config)
            main(config)

    return guarded


def mistake(error: Exception) -> str | None:
    """What to tell the user who made it; None if it is ours."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no value: add {error.full_key}=... to the command"
    cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
    theirs = isinstance(cause, ValueError) or "unexpected keyword argument" in str(cause)
    return str(cause) if theirs and os.environ.get("HYDRA_FULL_ERROR") != "1" else None


@contextmanager
def one_sentence(*runs: Path) -> Iterator[None]:
    """What `command` does about a mistake; `runs` are the folders to take away."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ == "Preempted":
            log.info("%s; the same command goes on", error)
            sys.exit(STOPPED)
        why = mistake(error)
        if why is None:
            raise
        log.error("error: %s", why)
        for run in runs:
            folders.remove_own(run)
        sys.exit(1)


@contextmanager
def said_in_log() -> Iterator[None]:
    """What `command` does in a sweep: the job's log holds the sentence or the traceback, the launcher hears of it."""
    try:
        yield
    except Exception as error:
        why = mistake(error)
        if type(error).__name__ == "Preempted":
            raise
        if why is None:
            log.exception("error")
        else:
            log.error("error: %s", why)
        raise jobs.JobFailed(why or str(error)) from None


def require_weights(node: Any) -> None:
    """Raises ValueError if weights that `node` or anything in it loads are not there: before minutes are spent on
    building a model for them."""
    if isinstance(node, ListConfig):
        for item in node:
            require_weights(item)
    if not isinstance(node, DictConfig):
        return
    if node.get("_target_") == "ldm.weights.checkpoint.pretrained" and node.get("weights") is not None:
        path = Path(node.weights)
        if not path.exists():
            raise ValueError(
                f"no weights at {path}. Published ones come with python scripts/fetch.py model=<name>; another place "
                f"is given as {node._get_full_key('weights')}=<file or folder>."
            )
    for key in node:
        if not OmegaConf.is_missing(node, key):
            require_weights(node[key])


def require_experiment() -> None:
    """Raises ValueError if the command line names none."""
    if HydraConfig.get().runtime.choices["experiment"] is None:
        known = GlobalHydra.instance().config_loader().get_group_options("experiment")
        raise ValueError(f"nothing to do: add experiment=<one of {', '.join(known)}> to the command.")
