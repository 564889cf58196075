"""Every file that does not hold weights gets a specific error message, regardless of its name."""

import zipfile

import pytest
import torch
from safetensors.torch import save

from ldm.weights.file_kind import file_kind


@pytest.mark.parametrize("name", ["model.ckpt", "model.safetensors", "MODEL.PT", "model"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "is a web page"),
        (b"\n  <html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "is a Git LFS pointer"),
        (b"model:\n  target: ldm.models\n", "probably a YAML config"),
        (b'{"error": "gone"}', "is a JSON file"),
        (b"PK\x03\x04 and then the line broke", "is damaged or truncated"),
        (save({"w": torch.ones(3)})[:20], "is truncated"),
        (b"GGUF\x03\x00\x00\x00", "is in GGUF format"),
        (bytes(1000), "is neither a safetensors file nor a torch checkpoint"),
        (b"just words", "is a text file, not weights"),
    ],
)
def test_a_stranger_is_named(tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as error:
        file_kind(path)
    assert str(path) in str(error.value)


def test_the_three_kinds_are_told_by_content(tmp_path):
    path = tmp_path / "model.txt"
    path.write_bytes(save({"w": torch.ones(3)}))
    assert file_kind(path) == "safetensors"
    torch.save({"w": torch.ones(3)}, path)
    assert file_kind(path) == "zip"
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    assert file_kind(path) == "pickle"


@pytest.mark.parametrize(("member", "sentence"), [("readme.txt", "but not a"), ("a/constants.pkl", "TorchScript")])
def test_other_zip_archives_are_refused(tmp_path, member, sentence):
    with zipfile.ZipFile(tmp_path / "model.ckpt", "w") as archive:
        archive.writestr(member, "text")
    with pytest.raises(ValueError, match=sentence):
        file_kind(tmp_path / "model.ckpt")


@pytest.mark.parametrize("start", [b"\x80\x02", b"PK", b"<h", b"GG", b"\x1f\x8b"])
def test_the_length_of_a_safetensors_header_may_look_like_another_format(tmp_path, start):
    content, tensor = save({"w": torch.ones(3)}), 12  # bytes of the tensor at the end
    header = content[8:-tensor].ljust(int.from_bytes(start, "little"))  # spaces may follow the JSON
    content = len(header).to_bytes(8, "little") + header + content[-tensor:]
    (tmp_path / "model").write_bytes(content)
    assert content[:2] == start and file_kind(tmp_path / "model") == "safetensors"
