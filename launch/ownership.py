"""A run folder belongs to one process at a time, and what a command writes to it belongs to one request."""

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
from omegaconf import DictConfig, OmegaConf

from ldm.errors import UserError
from ldm.files import relative

from .folders import write_record

log = logging.getLogger("ownership")

PATIENCE = 60.0  # seconds; processes whose parent was killed need time to notice it and to finish their step


@contextmanager
def lock_folder(run: Path) -> Iterator[None]:
    """Lock the run folder for the block. Waits for another process that works in it, and raises UserError if that
    process does not end in time."""
    lock = filelock.FileLock(run / ".lock")
    try:
        try:
            lock.acquire(timeout=0.0)
        except filelock.Timeout:
            log.info("another process is working in %s: waiting for it to end", run)
            lock.acquire(timeout=PATIENCE)
    except filelock.Timeout:
        raise UserError(f"another process is working in {run}: choose another folder (hydra.run.dir=...).") from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@contextmanager
def owned(config: DictConfig, name: str, *products: str) -> Iterator[Path]:
    """Yield the run folder for the results of one request, the resolved config. `name`.yaml keeps the request, so that
    the same command may write them again, such as after a kill. Raises UserError if the folder holds any of `products`
    (glob patterns of what the command writes) of another request or of the user."""
    folder = Path(config.paths.run)
    folder.mkdir(parents=True, exist_ok=True)
    record, request = folder / f"{name}.yaml", OmegaConf.to_yaml(config, resolve=True).encode()
    with lock_folder(folder):
        found = next((path for pattern in products for path in sorted(folder.glob(pattern))), None)
        if found is not None and _content(record) != request:
            raise UserError(
                f"{relative(found)} exists, and is not of this request: choose another folder (hydra.run.dir=...), or "
                f"leave out hydra.run.dir to get a new one."
            )
        write_record(record, request.decode())
        yield folder


def owning(name: str, *products: str) -> Callable[[Callable[[DictConfig], None]], Callable[[DictConfig], None]]:
    """Return a decorator for the body of a command, which runs it while the folder is `owned`."""

    def decorate(body: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
        @functools.wraps(body)
        def guarded(config: DictConfig) -> None:
            with owned(config, name, *products):
                body(config)

        return guarded

    return decorate


def _content(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes()
    return b""
