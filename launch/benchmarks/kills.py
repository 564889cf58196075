"""Kills trainings, at every file event and at random times, and compares what the same command then makes of them with
what an undisturbed run makes."""

import json
import multiprocessing
import os
import random
import runpy
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil

from ldm.files import write_json

from ..shell import SCRIPTS
from .same_runs import differences

# Audit events of Python that create, change or remove a file or a folder.
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
PATIENCE = 600.0  # seconds


@dataclass(frozen=True)
class Kill:
    """A signal to a training: at its file event number `event`, or (None) to all its processes after `seconds`."""

    number: int
    event: int | None = None
    seconds: float = 0.0


def work(script: str, arguments: Sequence[str], folder: Path, kill: Kill | None) -> None:
    """Run scripts/`script`.py in this process. Counts the file events below `folder` in `folder`.events; kills this
    process at the one that is asked for."""
    os.setsid()
    with folder.with_suffix(".log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    count, owner = 0, os.getpid()

    def watch(event: str, values: tuple[Any, ...]) -> None:
        nonlocal count
        written = event == "open" and bool(values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if os.getpid() == owner and (written or event in CHANGES) and _is_below(values[0], folder):
            count += 1
            if kill and count == kill.event:
                os.kill(owner, kill.number)

    sys.addaudithook(watch)
    sys.argv[:] = [str(SCRIPTS / f"{script}.py"), *arguments]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        folder.with_suffix(".events").write_text(str(count))


def _is_below(path: Any, folder: Path) -> bool:
    return isinstance(path, str | os.PathLike) and os.path.abspath(os.fspath(path)).startswith(str(folder))


class Trainings:
    """Starts trainings, or another script, with these arguments, which may contain {run} and {cache}, each in a new
    folder of `folder`. Their processes are forked from one that has imported everything, which saves seconds."""

    def __init__(self, folder: Path, arguments: Sequence[str], script: str = "train") -> None:
        self.script, self.folder, self.arguments = script, Path(os.path.abspath(folder)), list(arguments)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["launch.benchmarks.kills", "launch.training", "launch.packs"])
        self.trials = 0
        self.events, self.seconds = 0, 0.0

    def undisturbed(self) -> None:
        """Run once without a kill. Raises RuntimeError if this fails."""
        start = time.monotonic()
        if self._run("undisturbed", None) != 0:
            raise RuntimeError(f"the undisturbed run failed: {self.folder / 'undisturbed.log'}")
        self.seconds = time.monotonic() - start
        self.events = int((self.folder / "undisturbed.events").read_text())

    def resumed(self, kill: Kill) -> list[str]:
        """Kill a training, and run the same command again. Returns how the result differs from an undisturbed run's."""
        self.trials += 1
        name = f"trial{self.trials}"
        first = self._run(name, kill)
        again = self._run(name, None)
        if again != 0:
            return [f"{kill} (exit code {first}): the same command then ended with exit code {again}"]
        found = differences(self.folder / "undisturbed", self.folder / name)
        return [f"{kill} (exit code {first}): {difference}" for difference in found]

    def _run(self, name: str, kill: Kill | None) -> int | None:
        folder = self.folder / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        arguments = [argument.format(run=folder / "run", cache=folder / "cache") for argument in self.arguments]
        process = self.context.Process(target=work, args=(self.script, arguments, folder, kill))
        process.start()
        process.join(kill.seconds if kill and kill.event is None else PATIENCE)
        if process.is_alive():
            _kill_all(cast(int, process.pid), kill.number if kill else signal.SIGKILL)
            process.join(PATIENCE)
        return process.exitcode


def _kill_all(pid: int, number: int) -> None:
    """Send the signal to the process and, as the end of a machine would, SIGKILL to those that it has started."""
    children = psutil.Process(pid).children(recursive=True)
    os.kill(pid, number)
    if number == signal.SIGKILL:
        for child in children:
            if child.is_running():
                child.kill()


def planned(trainings: Trainings, at_events: int, at_random: int, seed: int) -> Iterator[Kill]:
    """Yield kills at `at_events` file events, evenly spread from the first to the last, and at `at_random` moments;
    by SIGKILL and SIGTERM in turn."""
    numbers = (signal.SIGKILL, signal.SIGTERM)
    events = sorted({1 + i * (trainings.events - 1) // max(1, at_events - 1) for i in range(at_events)})
    for i, event in enumerate(events):
        yield Kill(numbers[i % 2], event)
    rng = random.Random(seed)
    for i in range(at_random):
        yield Kill(numbers[i % 2], None, rng.uniform(0.0, trainings.seconds))


def kills(
    folder: Path, groups: Mapping[str, Mapping[str, Any]], at_events: int, at_random: int
) -> dict[str, dict[str, Any]]:
    """Kill trainings of each group, whose `trainings` are name -> arguments of train.py, in addition to those that the
    group has `shared`. Raises RuntimeError if a run differs from an undisturbed one after it has been resumed;
    `folder`/kills.json holds what was found until then. A training that it already holds is not repeated."""
    record = folder / "kills.json"
    found: dict[str, dict[str, Any]] = json.loads(record.read_text()) if record.is_file() else {}
    named = {name: [*g["shared"], *own] for g in groups.values() for name, own in (g["trainings"] or {}).items()}
    for name, arguments in named.items():
        if name in found:
            continue
        one = Trainings(folder / name, arguments)
        one.undisturbed()
        unlike: list[str] = []
        for kill in planned(one, at_events, at_random, seed=0):
            unlike += one.resumed(kill)
        found[name] = {"events": float(one.events), "kills": float(one.trials), "differences": float(len(unlike))}
        found[name]["different"] = unlike
        write_json(record, found)
    if any(result["different"] for result in found.values()):
        raise RuntimeError(f"resumed runs differ from undisturbed ones: {record}")
    return found
