"""A file is replaced as a whole or not at all, and nothing is left beside it."""

import os
import socket
import subprocess
import sys

import pytest

from ldm.files import replacing, write_json, write_whole

KILLED = """
import os, sys
from ldm.files import replacing
with replacing(sys.argv[1]) as partial:
    partial.write_text("half")
    os._exit(9)
"""


def test_a_file_is_written_in_folders_that_need_not_exist(tmp_path):
    write_whole(tmp_path / "a" / "b" / "file", b"content")
    write_json(tmp_path / "a" / "table.json", {"a": [1]})
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"
    assert (tmp_path / "a" / "table.json").read_text() == '{\n  "a": [\n    1\n  ]\n}'


def test_an_error_leaves_the_old_file_alone(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(RuntimeError), replacing(file) as partial:
        partial.write_text("half of the n")
        raise RuntimeError
    assert file.read_text() == "old" and [*tmp_path.iterdir()] == [file]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    with replacing(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new" and [*tmp_path.iterdir()] == [file]


def test_what_a_killed_process_left_goes_with_the_next_write_and_what_a_living_one_writes_stays(tmp_path):
    file = tmp_path / "file"
    assert subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    living = tmp_path / f".file.{socket.gethostname()}-{os.getppid()}.partial"
    living.write_text("half")
    other = tmp_path / ".another.partial"
    other.write_text("of somebody else")
    write_whole(file, b"whole")
    assert not left.exists() and {*tmp_path.iterdir()} == {file, living, other}


def test_the_content_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append("sync"), sync(descriptor)))
    monkeypatch.setattr("pathlib.Path.replace", lambda old, new: (done.append("replace"), replace(old, new)))
    write_whole(tmp_path / "file", b"content")
    assert done == ["sync", "replace", "sync"]
