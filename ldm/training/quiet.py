"""Suppress messages that Lightning shows in every run and that do not matter here."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# The frozen model is in eval mode, batches are built in the main process, Lightning itself calls a deprecated function,
# and srun is available but not needed.
HARMLESS = (
    "Found .* in eval mode", ".* does not have many workers", ".*LeafSpec", "The `srun` command is available",
)  # fmt: skip


def ignore_harmless_warnings() -> None:
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress these warnings and Lightning's messages about hardware in the block, then restore the settings."""
    lightning = logging.getLogger("pytorch_lightning")
    level = lightning.level
    lightning.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            ignore_harmless_warnings()
            yield
    finally:
        lightning.setLevel(level)
