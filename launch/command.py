"""Error handling that the commands of scripts/ share: a user error ends in one sentence and a non-zero exit code."""

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

from . import arguments, folders, jobs, mistakes
from .shell import script, shorter, this_command, with_commands

log = logging.getLogger("command")

INTERRUPTED = 130  # the exit code of a process ended by Ctrl-C
STATE = "last.ckpt"  # as in ldm.training.resumption, which imports torch
# Lightning's loggers of missing devices, of loggers to install, and of the last step. Importing Lightning resets the
# level of "pytorch_lightning", but not theirs.
CHATTY = ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero")


def command(main: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Wrap `main` so that a ValueError, also one raised inside of `instantiate`, is logged as `error: <message>` and
    ends in exit code 1. The run folder is removed if this process has created it and it holds only its log. In a sweep,
    the other jobs still run, and the folder of the job keeps its state. HYDRA_FULL_ERROR=1 shows the traceback."""

    @functools.wraps(main)
    def guarded(config: DictConfig) -> None:
        quiet_libraries()
        folder = Path(HydraConfig.get().runtime.output_dir)
        if not jobs.in_sweep():
            with report_mistakes(folder):
                require_weights(config)
                main(config)
            return
        with sweep_stopped(), jobs.track_job(folder, jobs.own_overrides()), log_mistakes():
            require_weights(config)
            main(config)

    return guarded


def start(main: Callable[[], None], documentation: str | None) -> None:
    """Run `main`, a function of `hydra.main`, as a script. --help prints `documentation`; texts are taken literally; a
    setting that does not exist ends in one sentence."""
    given = sys.argv[1:]
    if arguments.wants_help(given):
        arguments.show_help(Path(sys.argv[0]).stem, documentation or "")
        return
    sweep = bool({"-m", "--multirun"} & set(given))
    sys.argv[1:] = [arguments.literal(argument, sweep) for argument in given]
    with mistakes.in_one_sentence():
        main()


def quiet_libraries() -> None:
    """Silence Lightning's messages below warnings."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def mistake(error: Exception) -> str | None:
    """Return the message for a user error, or None if the error is a bug."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no value: add {error.full_key}=... to the command"
    cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
    theirs = isinstance(cause, ValueError) or "unexpected keyword argument" in str(cause)
    return with_commands(str(cause)) if theirs and os.environ.get("HYDRA_FULL_ERROR") != "1" else None


@contextmanager
def report_mistakes(*runs: Path) -> Iterator[None]:
    """Handle user errors and Ctrl-C in the block as `command` describes; `runs` are the folders to remove."""
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
    """Return the command that continues in the folder `run`, to paste into a shell in the current directory."""
    place = shorter(run)
    if not re.fullmatch(r"[A-Za-z0-9_./:-]+", place):  # Hydra needs quotes
        place = "'" + place.replace("\\", "\\\\").replace("'", "\\'") + "'"
    more = f"hydra.run.dir={place}"
    if "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_STEP_ID" in os.environ:
        return f"the same command with {shlex.quote(more)}"
    return this_command(*(a for a in arguments if not a.startswith("hydra.run.dir=")), more)


@contextmanager
def sweep_stopped() -> Iterator[None]:
    """End the whole sweep if its process gets a signal during a job: no other job is started."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ == "Preempted" and jobs.sweeper == os.getpid():
            sys.exit(cast(Any, error).exit_code)
        raise


@contextmanager
def log_mistakes() -> Iterator[None]:
    """Handle errors of a job in a sweep: log the message or the traceback, and raise JobFailed for the launcher."""
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
    """Raise ValueError if weights that `node` or anything in it loads do not exist, before a model is built for
    minutes."""
    if isinstance(node, ListConfig):
        for item in node:
            require_weights(item)
    if not isinstance(node, DictConfig):
        return
    if node.get("_target_") == "ldm.weights.checkpoint.pretrained" and node.get("weights") is not None:
        path = Path(node.weights)
        if not path.exists():
            raise ValueError(
                f"no weights at {path}. Published ones come with {script('fetch')} model=<name>; another "
                f"place is given as {node._get_full_key('weights')}=<file or folder>."
            )
    for key in node:
        if not OmegaConf.is_missing(node, key):
            require_weights(node[key])


def require_experiment() -> None:
    """Raise ValueError if the command line names no experiment."""
    if HydraConfig.get().runtime.choices["experiment"] is None:
        known = GlobalHydra.instance().config_loader().get_group_options("experiment")
        raise ValueError(f"nothing to do: add experiment=<one of {', '.join(known)}> to the command.")
