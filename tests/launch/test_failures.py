"""What the user can mend is one sentence. Anything else is a bug: one sentence, with its traceback in the log."""

import errno
import logging
import re
import subprocess
import sys

import hydra
import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from omegaconf.errors import InterpolationResolutionError

import ldm.errors
import toyland.errors
from launch import CONFIGS, command
from launch.failures import explain
from tests.conftest import ROOT

MENDABLE = [
    ldm.errors.UserError("the sky is green: wait."),
    toyland.errors.UserError("the toy is 0: give 1."),
    OSError(errno.ENOSPC, "No space left on device", "/a/b"),
    PermissionError(errno.EACCES, "Permission denied", "/a/b"),
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]
BUGS = [
    ValueError("expected 3 tensors"),
    TypeError("got None"),
    ZeroDivisionError("division by zero"),
    KeyError("a"),
    RuntimeError("shape mismatch"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "/a/b"),
]


def caused_by(cause, wrapper):
    try:
        raise wrapper("wrapped") from cause
    except wrapper as error:
        return error


@pytest.mark.parametrize("wrapper", [None, InstantiationException, InterpolationResolutionError])
def test_only_what_can_be_mended_is_explained(wrapper):
    for error in MENDABLE:
        said = explain(error if wrapper is None else caused_by(error, wrapper))
        assert said and "wrapped" not in said, error
    for error in BUGS:
        assert explain(error if wrapper is None else caused_by(error, wrapper)) is None, error


@pytest.mark.parametrize("allocate", [lambda: torch.empty(1 << 50), lambda: np.empty(1 << 50)])
def test_memory_that_cannot_be_had_leads_to_the_ladder_of_the_documentation(allocate):
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        allocate()
    said = explain(raised.value)
    assert said and "not enough memory" in said
    ladder = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8").partition("### When memory is short")[2]
    rungs = re.findall(r"^\d\. .*?`([\w.]+)=", ladder.partition("\n## ")[0], re.MULTILINE)
    places = [said.index(rung) for rung in rungs]
    assert len(rungs) == 4 and places == sorted(places)  # the same settings in the same order


@pytest.mark.integration
def test_a_training_without_enough_memory_says_so():
    command = "ulimit -v 3500000; exec $0 scripts/train.py experiment=cat_toy debug=tiny samples_a_step=6000"
    done = subprocess.run(["bash", "-c", command, sys.executable], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "error: there is not enough memory" in done.stderr + done.stdout


@pytest.fixture
def failing(monkeypatch, capsys, tmp_path):
    """Run a command whose body raises `error`: its exit code, what it says and its run folder."""

    def run(error):
        def body(config):
            raise error

        folder = tmp_path / "run"
        monkeypatch.setattr(
            sys, "argv", ["export.py", "scale=toyland", "debug=tiny", "folder=x", f"hydra.run.dir={folder}"]
        )
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="export")(command.command(body))
        try:
            with pytest.raises(SystemExit) as stopped:
                command.start(main, "")
        finally:
            for handler in set(root.handlers) - set(handlers):
                handler.close()
            root.handlers[:] = handlers
            root.setLevel(level)
        said = capsys.readouterr()
        return stopped.value.code, said.out + said.err, folder

    return run


@pytest.mark.parametrize("error", [BUGS[0], BUGS[2]])
def test_a_bug_says_so_and_leaves_its_traceback_in_the_log(failing, error):
    code, said, folder = failing(error)
    (line,) = said.splitlines()
    (log,) = folder.glob("*.log")
    assert code == 1 and line.startswith(
        f"error: this is a bug, not a mistake of yours ({type(error).__name__}: {error})"
    )
    assert str(log) in line and "Traceback" not in line
    assert "Traceback (most recent call last)" in log.read_text() and "raise error" in log.read_text()


def test_a_mistake_leaves_neither_a_traceback_nor_a_folder(failing):
    code, said, folder = failing(MENDABLE[0])
    assert (code, said) == (1, "error: the sky is green: wait.\n") and not folder.exists()


def test_with_full_errors_the_traceback_is_on_the_screen(failing, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ZeroDivisionError):
        failing(BUGS[2])
