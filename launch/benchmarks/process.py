"""Memory is measured in a process that does nothing else."""

import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any


def peak_memory() -> int:
    """Bytes of main memory that this process has held at most. Linux says it in /proc; getrusage would count the
    process that started this one."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


def in_new_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` returns there."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()
