"""What the commands of scripts/ share: a user's mistake ends in one sentence and a non-zero exit code."""

import functools
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from . import folders, jobs

log = logging.getLogger("command")

INTERRUPTED = 130  # the exit code of a process that Ctrl-C has ended
STATE = "last.ckpt"  # ldm.training.resumption's, which is torch


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
        with sweep_stopped(), jobs.track_job(folder, jobs.own_overrides()), said_in_log():
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
    """What `command` does about a mistake or Ctrl-C; `runs` are the folders to take away."""
    try:
        yield
    except KeyboardInterrupt:
        goes_on = [f"; to go on: {going_on(run, sys.argv[1:])}" for run in runs if (run / STATE).is_file()]
        log.info("stopped by Ctrl-C%s", "".join(goes_on))
        for run in runs:
            folders.remove_own(run)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if type(error).__name__ == "Preempted":
            for run in runs:
                log.info("to go on: %s", going_on(run, [a for a in sys.argv[1:] if not a.startswith("resume=")]))
            sys.exit(cast(Any, error).exit_code)
        why = mistake(error)
        if why is None:
            raise
        log.error("error: %s", why)
        for run in runs:
            folders.remove_own(run)
        sys.exit(1)


def going_on(run: Path, arguments: Sequence[str]) -> str:
    """The command that goes on in the folder `run`, to be pasted into a shell that is where this process is."""
    place = shorter(run)
    if not re.fullmatch(r"[A-Za-z0-9_./:-]+", place):  # Hydra would not take it bare
        place = "'" + place.replace("\\", "\\\\").replace("'", "\\'") + "'"
    more = f"hydra.run.dir={place}"
    if "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_STEP_ID" in os.environ:
        return f"the same command with {shlex.quote(more)}"
    return this_command(*(a for a in arguments if not a.startswith("hydra.run.dir=")), more)


def this_command(*arguments: str) -> str:
    """This script with these arguments, run by the same Python, to be pasted into a shell."""
    return shlex.join([shorter(sys.executable or "python"), shorter(sys.argv[0]), *arguments])


def shorter(path: str | Path) -> str:
    """Relative, if it lies below the current folder."""
    path = Path(path)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


@contextmanager
def sweep_stopped() -> Iterator[None]:
    """A signal to the process that runs a whole sweep stops that: no other job begins."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ == "Preempted" and jobs.sweeper == os.getpid():
            sys.exit(cast(Any, error).exit_code)
        raise


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
