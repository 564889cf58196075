"""Commands that are printed, to be pasted into a shell in the current folder."""

import re
import shlex
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def this_command(*arguments: str) -> str:
    """Return this script with these arguments, run by the same Python."""
    return shlex.join([python(), shorter(sys.argv[0]), *arguments])


def script(name: str, *arguments: str) -> str:
    """Return scripts/`name`.py with these arguments, run by the same Python."""
    return shlex.join([python(), shorter(SCRIPTS / f"{name}.py"), *arguments])


def with_commands(message: str) -> str:
    """Replace `python scripts/...` in the message of a package, which does not know the interpreter's path."""
    return re.sub(r"\bpython scripts/(\w+)\.py", lambda found: script(found[1]), message)


def python() -> str:
    return shorter(sys.executable or "python")


def shorter(path: str | Path) -> str:
    """Return the path, relative if it lies below the current folder."""
    path = Path(path)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
