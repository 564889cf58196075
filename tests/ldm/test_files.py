"""Files are replaced atomically, and no temporary files are left."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from ldm.files import read_json, remove_leftovers, replacing, write_json, write_whole

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


def test_leftovers_of_any_machine_go_and_files_of_others_stay(tmp_path):
    (tmp_path / "previews").mkdir()
    left = [tmp_path / ".last.ckpt.node7-12.partial", tmp_path / "previews" / ".0-00050.png.a.b-3.partial"]
    others = [tmp_path / name for name in (".hidden.partial", "notes.partial", ".a.b-1.partial.txt", "last.ckpt")]
    for path in [*left, *others]:
        path.write_text("x")
    (tmp_path / ".pipeline.node7-12.partial" / "unet").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert {*tmp_path.iterdir()} == {tmp_path / "previews", *others} and not any((tmp_path / "previews").iterdir())


def test_a_folder_is_whole_or_absent_and_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), replacing(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "half").touch()
        raise RuntimeError
    assert not any(tmp_path.iterdir())
    with replacing(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "whole").touch()
    assert [*tmp_path.rglob("*")] == [tmp_path / "folder", tmp_path / "folder" / "whole"]


def test_a_broken_record_reads_as_none(tmp_path):
    file = tmp_path / "record.json"
    assert read_json(file) is None
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1'):
        file.write_bytes(content)
        assert read_json(file) is None
    file.write_text('{"a": 1}')
    assert read_json(file) == {"a": 1}
