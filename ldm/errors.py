"""The error for what a user can mend, and checks that raise it."""

import math
from numbers import Integral, Real
from typing import Any


class UserError(ValueError):
    """Something that the user gave cannot be used: a setting, a file, a folder. The message is one or two sentences
    that say what is wrong, where, and what to do. The commands show it without a traceback; any other error counts as a
    bug."""


def require_whole(name: str, value: Any, least: int) -> None:
    """Raise UserError unless the value of the setting `name` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise UserError(f"{name} is {value!r}: give a whole number, {least} or more.")


def require_number(name: str, value: Any) -> None:
    """Raise UserError unless the value of the setting `name` is a finite number."""
    if not _is_finite(value):
        raise UserError(f"{name} is {value!r}: give a number.")


def require_positive(name: str, value: Any) -> None:
    """Raise UserError unless the value of the setting `name` is a finite number above 0."""
    if not (_is_finite(value) and value > 0):
        raise UserError(f"{name} is {value!r}: give a number above 0.")


def require_not_negative(name: str, value: Any) -> None:
    """Raise UserError unless the value of the setting `name` is a finite number of at least 0."""
    if not (_is_finite(value) and value >= 0):
        raise UserError(f"{name} is {value!r}: give a number, 0 or more.")


def require_text(name: str, value: Any) -> None:
    """Raise UserError unless the value of the setting `name` is a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{name} is {value!r}: give a text.")


def require_switch(name: str, value: Any) -> None:
    """Raise UserError unless the value of the setting `name` is True or False."""
    if not isinstance(value, bool):
        raise UserError(f"{name} is {value!r}: give true or false.")


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
