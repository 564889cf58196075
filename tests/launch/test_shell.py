"""The commands that messages print work when they are pasted."""

import sys

import pytest

from launch.shell import SCRIPTS, with_commands


@pytest.mark.parametrize("python", ["/usr/bin/python", "{here}/.venv/bin/python"])
def test_commands_in_messages_of_other_packages_name_the_python_that_runs(python, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", python.format(here=tmp_path))
    found = with_commands("fetch it with python scripts/fetch.py model=ldm, then python scripts/train.py.")
    runs = python.format(here=".").removeprefix("./")
    assert found == f"fetch it with {runs} {SCRIPTS}/fetch.py model=ldm, then {runs} {SCRIPTS}/train.py."
    assert with_commands(found) == found


def test_from_the_folder_of_the_project_commands_are_short(monkeypatch):
    """Then the replaced command still reads `python scripts/...`, behind the folder of its Python."""
    monkeypatch.chdir(SCRIPTS.parent)
    monkeypatch.setattr(sys, "executable", str(SCRIPTS.parent / ".venv" / "bin" / "python"))
    found = with_commands("with python scripts/fetch.py model=ldm")
    assert found == "with .venv/bin/python scripts/fetch.py model=ldm" == with_commands(found)
