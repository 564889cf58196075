"""Files are replaced atomically, and no temporary files are left."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

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


@pytest.fixture
def full_disk(tmp_path):
    """A disk of 256 KiB of which half is free. Needs the right to mount one."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("only an administrator may mount a disk")
    (tmp_path / "file").write_bytes(b"old" + bytes(128 << 10))
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.mark.integration
@pytest.mark.parametrize("save", [torch.save, lambda tensors, path: save_file(tensors, path), None])
def test_a_full_disk_is_named_and_leaves_the_old_file_alone(full_disk, save):
    file = full_disk / "file"
    with pytest.raises(OSError, match="No space left on device") as caught, replacing(file) as partial:
        if save is None:
            partial.write_bytes(bytes(1 << 20))
        else:
            save({"a": torch.zeros(1 << 18)}, partial)
    assert caught.value.filename == str(file)
    assert file.read_bytes()[:3] == b"old" and [path.name for path in full_disk.iterdir()] == ["file"]
