"""Build the commands that messages print. Each works when it is pasted into a shell in the current folder."""

import logging
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def this_command(*arguments: str) -> str:
    """Return the command that runs the current script with these arguments and the same Python."""
    return join([python(), shorten(sys.argv[0]), *arguments])


def script(name: str, *arguments: str) -> str:
    """Return the command that runs scripts/`name`.py with these arguments and the same Python."""
    return join([python(), shorten(SCRIPTS / f"{name}.py"), *arguments])


def join(arguments: Sequence[str]) -> str:
    return " ".join(map(quote, arguments))


def quote(argument: str) -> str:
    """Quote an argument for the shell. Single quotes, which Hydra needs, are put in double quotes to stay readable."""
    return f'"{argument}"' if "'" in argument and not set(argument) & set('"$`!\\') else shlex.quote(argument)


def with_commands(message: str) -> str:
    """Replace each `python scripts/<name>.py` in a message of another package by a command that works here. A command
    that already names its Python by a path stays."""
    return re.sub(r"(?<![\w./\\-])python scripts/(\w+)\.py", lambda found: script(found[1]), message)


def python() -> str:
    return shorten(sys.executable or "python")


def shorten(path: str | Path) -> str:
    """Return the path, relative to the current folder if it lies below it."""
    path = Path(path)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def end_with_pipe() -> None:
    """End this process without a message when what reads its output, such as `head`, ends. Only for commands that do
    nothing but print: the signal ends a process at a closed network connection as well."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


class _Printable(logging.Filter):
    """Escapes what is not printable in log messages: texts from files could otherwise control the terminal."""

    def filter(self, record: logging.LogRecord) -> bool:
        lines = record.getMessage().split("\n")
        if not all(line.isprintable() for line in lines):
            record.msg, record.args = "\n".join(map(_escaped, lines)), None
        return True


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in line)


PRINTABLE = _Printable()
