"""What a file's pickle may become: plain values, in containers of a bounded size, and placeholders for the rest."""

from collections.abc import Callable
from typing import Any

OPERATIONS = 500_000  # pickle instructions of one file, of which a tensor takes 30, and values in its containers
DEPTH = 64  # of containers in one another
_INTEGER = 256  # bits


class NotWeights(ValueError):
    """A file asks for something that no file of weights needs."""


class Damaged(ValueError):
    """A file breaks the rules of its format, or asks for more than its size allows."""


class Skipped:
    """A placeholder for a pickled object that is not a tensor: `name` is its class or function, and `state` is what it
    would have been restored from."""

    def __init__(self, name: str) -> None:
        self.name, self.state = name, None


class Builder:
    """A function of the reader that stands for a name in a file. A pickle can call it and do nothing else with it."""

    def __init__(self, build: Callable[..., Any]) -> None:
        self.build = build


def shown(module: str, name: str) -> str:
    """Return a name from a file as an error message shows it: short, and without control characters."""
    text = f"{module}.{name}"[:100]
    return text if text.isprintable() else ascii(text)


def literal(value: Any) -> Any:
    if type(value) is int and value.bit_length() > _INTEGER:
        raise Damaged("it holds a number with too many digits")
    if type(value) is str and not value.isascii():
        value.encode()  # raises for half a character, which could be neither printed nor saved
    return value


def require_tree(value: Any) -> None:
    """Raise Damaged for containers that hold one another, or that hold one container so often that a walk through all
    of them would not end."""
    sizes: dict[int, int] = {}

    def size(value: Any, depth: int) -> int:
        if type(value) is Builder:
            raise Damaged("it holds a function")
        if type(value) not in (dict, list, tuple, set, frozenset):
            return 1
        if depth > DEPTH:
            raise Damaged("it holds containers in containers without an end")
        if id(value) not in sizes:
            parts = value.values() if type(value) is dict else value
            sizes[id(value)] = 1 + sum(size(part, depth + 1) for part in parts)
        if sizes[id(value)] > OPERATIONS:
            raise Damaged("its containers hold one another too often")
        return sizes[id(value)]

    size(value, 0)
