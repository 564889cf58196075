"""How a command starts and ends: a user's mistake gives one sentence and exit code 1, Ctrl-C a command to continue."""

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
from omegaconf import DictConfig, ListConfig, OmegaConf

from ldm.errors import UserError
from ldm.training.quiet import quiet_lightning

from . import arguments, failures, folders, jobs, mistakes
from .settings import require_settings
from .shell import PRINTABLE, end_with_pipe, script, shorten, this_command

log = logging.getLogger("command")

INTERRUPTED = 130  # the exit code of a process ended by Ctrl-C
FROM = ("resume=", "resume.from=")  # a run that is continued goes on from its own state
STATE = "last.ckpt"  # as in ldm.training.resumption, which imports torch


def command(main: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Wrap `main` so that every error ends in one or two sentences and exit code 1 (see `failures.report`). After a
    mistake of the user the run folder is removed if this process created it and it holds nothing but the log. In a
    sweep the other jobs still run, and the job's folder records that it failed."""

    @functools.wraps(main)
    def guarded(config: DictConfig) -> Any:
        prepare_logging()
        folder = Path(HydraConfig.get().runtime.output_dir)
        if not jobs.in_sweep():
            with report_mistakes(folder):
                require_usable(config)
                return main(config)
        with stop_sweep_on_signal(), jobs.track_job(folder, jobs.own_overrides()), log_mistakes():
            require_usable(config)
            return main(config)

    return guarded


def start(main: Callable[[], None], documentation: str | None) -> None:
    """Run `main`, which `hydra.main` has decorated, as a script. --help prints `documentation`. Prompts and paths need
    no quotes for Hydra. Errors before `main` end in one or two sentences as well."""
    given, jobs.sweeper = sys.argv[1:], os.getpid()
    if arguments.only_prints(given):
        end_with_pipe()
    if arguments.wants_help(given):
        arguments.show_help(Path(sys.argv[0]).stem, documentation or "")
        return
    sweep = bool({"-m", "--multirun"} & set(given))
    sys.argv[1:] = [arguments.quote_text(argument, sweep) for argument in given]
    with failures.reported(), mistakes.reported_by(failures.reported):
        failures.require_current_folder()
        mistakes.require_known_options(sys.argv[1:])
        main()


def prepare_logging() -> None:
    """Silence Lightning's messages, and tracebacks of logging on a full disk. Escape what is not printable in all
    messages."""
    logging.raiseExceptions = False
    quiet_lightning()
    for handler in logging.getLogger().handlers:
        handler.addFilter(PRINTABLE)


@contextmanager
def report_mistakes(*runs: Path) -> Iterator[None]:
    """Handle errors and Ctrl-C in the block as `command` describes. `runs` are the folders that it may remove."""
    try:
        yield
    except KeyboardInterrupt:
        saved = [run for run in runs if (run / STATE).is_file()]
        log.info("stopped by Ctrl-C%s", "".join(f"; to continue: {continuation(run, sys.argv[1:])}" for run in saved))
        for run in runs:
            folders.remove_own(run)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if type(error).__name__ == "Preempted":
            for run in runs:
                log.info("to continue: %s", continuation(run, sys.argv[1:]))
            sys.exit(cast(Any, error).exit_code)
        failures.report(error)
        for run in runs if failures.explain(error) else ():
            folders.remove_own(run)
        sys.exit(1)


def continuation(run: Path, arguments: Sequence[str]) -> str:
    """Return the command that continues the run in the folder `run`."""
    place = shorten(run)
    if not re.fullmatch(r"[A-Za-z0-9_./:-]+", place):  # Hydra parses anything else only within quotes
        place = "'" + place.replace("\\", "\\\\").replace("'", "\\'") + "'"
    more = f"hydra.run.dir={place}"
    if "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_STEP_ID" in os.environ:
        return f"the same command with {shlex.quote(more)}"
    return this_command(*(a for a in arguments if not a.startswith(("hydra.run.dir=", *FROM))), more)


@contextmanager
def stop_sweep_on_signal() -> Iterator[None]:
    """End the whole sweep if its process receives a signal during a job, so that no other job starts."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ == "Preempted" and jobs.sweeper == os.getpid():
            sys.exit(cast(Any, error).exit_code)
        raise


@contextmanager
def log_mistakes() -> Iterator[None]:
    """Report an error of one job in a sweep, and raise JobFailed for the launcher."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ == "Preempted":
            raise
        raise jobs.JobFailed(failures.report(error)) from None


def require_usable(config: DictConfig) -> None:
    """Raise UserError for values and missing weights with which nothing can be built."""
    require_settings(config)
    require_weights(config)


def require_weights(node: Any) -> None:
    """Raise UserError if weights that the config `node` asks for do not exist. Building the model first would take
    minutes."""
    if isinstance(node, ListConfig):
        for item in node:
            require_weights(item)
    if not isinstance(node, DictConfig):
        return
    if node.get("_target_") == "ldm.weights.checkpoint.load_weights" and node.get("weights") is not None:
        path = Path(node.weights)
        if not path.exists():
            raise UserError(
                f"there are no weights at {path}. Download published weights with {script('fetch')} model=<name>, or "
                f"give another place as {node._get_full_key('weights')}=<file or folder>."
            )
    for key in node:
        if not OmegaConf.is_missing(node, key):
            require_weights(node[key])


def require_experiment() -> None:
    """Raise UserError if the command line names no experiment."""
    if HydraConfig.get().runtime.choices["experiment"] is None:
        known = GlobalHydra.instance().config_loader().get_group_options("experiment")
        raise UserError(f"nothing to do: add experiment=<one of {', '.join(known)}> to the command.")
