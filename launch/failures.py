"""What is said about an error: a sentence for what the user can mend. For a bug, its traceback goes into a file, and
one sentence says where."""

import errno
import logging
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

import ldm.errors
import toyland.errors

from . import mistakes
from .shell import shorten, with_commands

log = logging.getLogger("command")

USER_ERRORS = (ldm.errors.UserError, toyland.errors.UserError)
WRAPPERS = (InstantiationException, InterpolationResolutionError)  # their cause is what happened
# What the disk or the rights do not allow, and what to do
DISK = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space, or choose another folder"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "change the rights, or choose another place"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file is in the place of a folder; choose another place"),
    errno.EISDIR: "a folder is in the place of a file; choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a link leads to itself; choose another place",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EFBIG: "allow larger files (ulimit -f), or choose another place",
    errno.EIO: "check the disk, or choose another place",
}
MEMORY = (
    "there is not enough memory. For a training, try in this order: module.checkpointing=true, a smaller "
    "samples_a_step, module.frozen_dtype.path=torch.bfloat16, callbacks.previews.at_steps=[], a smaller scale; "
    "docs/cluster.md says what each of them costs."
)
# In the messages of torch's RuntimeErrors if memory is short: of the CPU's allocator, and of libraries on a GPU
NO_MEMORY = re.compile(r"DefaultCPUAllocator: (can't|not enough)|out of memory|STATUS_ALLOC_FAILED|std::bad_alloc")
# Errors of libraries that import slowly, by name -> what to say; None says what the error says
BY_NAME = {"MisconfigurationException": None, "OutOfMemoryError": MEMORY, "MemoryError": MEMORY}


def explain(error: BaseException) -> str | None:
    """Return one or two sentences for an error that the user can mend, or None if it is a bug."""
    called = isinstance(error, InstantiationException)
    while isinstance(error, WRAPPERS) and (cause := error.__cause__ or error.__context__):
        error = cause
    if isinstance(error, USER_ERRORS):
        return with_commands(str(error))
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no value: add {error.full_key}=... to the command"
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        removed = any(argument.startswith("~") for argument in sys.argv[1:])
        return f"the setting {error.full_key} is needed: do not remove it" if removed else None
    if isinstance(error, HydraException | OmegaConfBaseException):
        return mistakes.sentence(error)
    if isinstance(error, OSError):
        return _about_disk(error)
    if isinstance(error, ValueError) and isinstance(error.__cause__, OSError):  # logging: "Unable to configure ..."
        return _about_disk(error.__cause__)
    if isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)):
        return MEMORY
    if type(error).__name__ in BY_NAME:
        return BY_NAME[type(error).__name__] or _first_line(error)
    if isinstance(error, ValueError) and _is_raised_by_hydra(error):  # such as --resolve without --cfg
        return f"{_first_line(error)}: --help lists the choices."
    found = re.search(r"got an unexpected keyword argument '(\w+)'", str(error))
    return f"there is no setting {found[1]} here: remove it" if called and found else None


def _about_disk(error: OSError) -> str | None:
    remedy = DISK.get(error.errno or 0)
    if error.errno == errno.ENOENT and any(str(error.filename) in argument for argument in sys.argv[1:]):
        remedy = "give another path"
    place = f" at {error.filename}" if error.filename is not None else ""
    return f"{error.strerror}{place}: {remedy}." if remedy else None


def _is_raised_by_hydra(error: BaseException) -> bool:
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and frames[-1][0].f_globals.get("__name__", "").startswith("hydra.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]


def report(error: Exception, say: Callable[[str], Any] = log.error) -> str:
    """Say what has gone wrong, in one or two sentences. The traceback of a bug goes into the log files. Returns the
    sentences. With HYDRA_FULL_ERROR=1 the error is raised instead."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    said = explain(error)
    if said is None:
        what = ": ".join(filter(None, (type(error).__name__, _first_line(error))))
        said = f"this is a bug, not a mistake of yours ({what}). The traceback is in {keep_traceback(error)}."
    say(f"error: {said}")
    return said


def keep_traceback(error: BaseException) -> str:
    """Write the traceback to the log files, or to a new temporary file if there are none. Returns the path of one."""
    handlers = logging.getLogger().handlers
    files = [h for h in handlers if isinstance(h, logging.FileHandler) and h.baseFilename != os.devnull]
    if not files:
        with tempfile.NamedTemporaryFile("w", prefix="error-", suffix=".log", delete=False, encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)))
        return file.name
    trace = (type(error), error, error.__traceback__)
    record = logging.LogRecord(log.name, logging.ERROR, __file__, 0, "traceback:", None, trace)
    for handler in files:
        handler.handle(record)
    return shorten(files[-1].baseFilename)


@contextmanager
def reported() -> Iterator[None]:
    """Report an error in the block on stderr and end the process with exit code 1."""
    try:
        yield
    except Exception as error:
        report(error, lambda said: sys.stderr.write(f"{said}\n"))
        sys.exit(1)


def require_current_folder() -> None:
    """Raise UserError if the current folder has been deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise ldm.errors.UserError("the current folder does not exist any more: change to another one.") from None
