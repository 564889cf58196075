"""Long tables of cases, of which `make test` tries some and the integration tests the others."""

from collections.abc import Iterable
from typing import Any

import pytest


def every(n: int, rows: Iterable[Any]) -> list[Any]:
    """Return the rows as parameters of a test. All but every nth are marked as integration."""
    values = [row if isinstance(row, tuple) else (row,) for row in rows]
    return [pytest.param(*row, marks=[pytest.mark.integration] if i % n else []) for i, row in enumerate(values)]
