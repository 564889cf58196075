"""What Lightning says in every run and nobody needs."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# The frozen model is in eval mode, batches are made in the main process, a call of Lightning's own is outdated, a
# cluster's srun is there and not needed.
HARMLESS = (
    "Found .* in eval mode", ".* does not have many workers", ".*LeafSpec", "The `srun` command is available",
)  # fmt: skip


def ignore_harmless_warnings() -> None:
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message)


@contextmanager
def quiet() -> Iterator[None]:
    """Without these warnings and Lightning's remarks on hardware; afterwards everything is as it was."""
    lightning = logging.getLogger("pytorch_lightning")
    level = lightning.level
    lightning.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            ignore_harmless_warnings()
            yield
    finally:
        lightning.setLevel(level)
