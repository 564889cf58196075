"""Run a measurement of memory in a process of its own."""

import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any


def peak_memory() -> int:
    """Return the peak main memory of this process in bytes, from /proc (Linux only). getrusage would include the parent
    process."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


def in_new_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call `work` in a new process; return its result."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()
