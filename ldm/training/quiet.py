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
# These loggers of Lightning list devices, advertise other loggers and announce the last step. Importing Lightning
# resets the level of "pytorch_lightning", but not theirs.
CHATTY = ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero")


def quiet_lightning() -> None:
    """Suppress harmless warnings, and Lightning's messages below warnings, from here on."""
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the same in the block, then restore the settings."""
    levels = {name: logging.getLogger(name).level for name in CHATTY}
    try:
        with warnings.catch_warnings():
            quiet_lightning()
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
