"""Tensors of torch's files come back exactly, and none is larger than its file."""

import io
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch
from torch import nn

from ldm.errors import UserError
from ldm.weights.pickled import load_pickled

LEGACY = pytest.mark.parametrize("legacy", [False, True])
WHOLE = pytest.mark.parametrize("whole", [False, True])
TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
TYPES += [torch.int8, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn]


def save(content, path, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def bits(value):
    return value.reshape(-1).contiguous().view(torch.uint8)


def changed(path, change, **settings):
    """Write the zip archive again; `change` maps (name, content) of each record to what takes its place."""
    with zipfile.ZipFile(path) as old:
        records = [(info.filename, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w", **settings) as new:
        for record in records:
            for name, content in change(*record):
                new.writestr(name, content)
    return path


@LEGACY
@WHOLE
def test_numbers_of_every_type_and_layout_come_back_exactly(tmp_path, legacy, whole):
    base = torch.arange(24.0).view(4, 6)
    saved = {str(kind): (base - 7).to(kind) for kind in TYPES}
    saved |= {"columns": base.t(), "part": base[1:3, ::2], "number": torch.tensor(3.5), "none": torch.empty(0, 3)}
    saved |= {"parameter": nn.Parameter(base), "tied": base[0]}
    loaded = load_pickled(save(saved, tmp_path / "a.pt", legacy), whole)
    assert list(loaded) == list(saved)
    for name, value in saved.items():
        assert loaded[name].dtype == value.dtype and loaded[name].shape == value.shape
        assert torch.equal(bits(loaded[name]), bits(value.detach()))
    assert loaded["columns"].untyped_storage().data_ptr() == loaded["part"].untyped_storage().data_ptr()


@LEGACY
def test_a_module_with_its_hyperparameters_is_read_as_torch_does(tmp_path, legacy):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    state = {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()], "epoch": 2}
    path = save(state, tmp_path / "a.ckpt", legacy)
    theirs = torch.load(path, weights_only=True)
    ours = load_pickled(path, whole=True)
    assert str(ours["optimizer_states"]) == str(theirs["optimizer_states"]) and ours["epoch"] == 2
    fresh = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    fresh.load_state_dict(ours["state_dict"])
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in model.state_dict().items())


def test_what_is_loaded_whole_can_be_replaced_and_changed(tmp_path):
    path = save({"w": torch.ones(3)}, tmp_path / "a.ckpt")
    before = path.read_bytes()
    loaded = load_pickled(path, whole=True)
    path.write_bytes(bytes(len(before)))
    assert loaded["w"].add_(1).tolist() == [2, 2, 2]


def test_a_mapped_file_is_not_changed_by_what_is_done_to_its_tensors(tmp_path):
    path = save({"w": torch.ones(3)}, tmp_path / "a.ckpt")
    before = path.read_bytes()
    load_pickled(path)["w"].add_(1)
    assert path.read_bytes() == before


def test_a_tensor_is_saved_without_the_rest_of_its_file(tmp_path):
    loaded = load_pickled(
        save({"large": torch.zeros(100_000), "small": torch.ones(3)}, tmp_path / "a.ckpt"), whole=True
    )
    assert save(loaded["small"], tmp_path / "b.ckpt").stat().st_size < 5_000


@LEGACY
def test_a_tensor_larger_than_its_storage_is_refused(tmp_path, legacy):
    path = save({"w": torch.ones(1).expand(1_000_000, 256)}, tmp_path / "a.pt", legacy)
    with pytest.raises(UserError, match="a tensor is larger than its storage"):
        load_pickled(path)


class Rebuild:
    """Pickles as a call of a function of torch."""

    def __init__(self, *arguments, function=torch._utils._rebuild_tensor_v2) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (4,), (1,)), (3, (1,), (1,)), (-1, (1,), (1,)), (0, (2, 2), (2, 1)), (0, (-1,), (1,)), (0, (2,), (-1,)),
        (0, (2**40, 2**40), (0, 0)), (0, (3,), (1, 1)), (0, (1.0,), (1,)), (0, "a", "b"), (0, (2**70,), (0,)),
        (2**70, (1,), (1,)), (0, (2, 2), (0, 0)),
    ],
)  # fmt: skip
def test_a_tensor_outside_of_its_storage_is_refused(tmp_path, offset, size, stride):
    storage = torch.ones(3).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    path = save({"w": Rebuild(typed, offset, size, stride, False, OrderedDict())}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="is damaged or truncated"):
        load_pickled(path)


def test_many_views_of_one_storage_are_refused(tmp_path):
    value = torch.zeros(1000)
    with pytest.raises(UserError, match="too many tensors for its size"):
        load_pickled(save([value[i:] for i in range(100)], tmp_path / "a.pt"))


@pytest.mark.parametrize("record", ["data.pkl", "data/0"])
def test_compressed_records_are_refused(tmp_path, record):
    path = save({"w": torch.ones(1000)}, tmp_path / "a.pt")
    with zipfile.ZipFile(path) as old:
        records = [(info.filename, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, content in records:
            new.writestr(name, content, zipfile.ZIP_DEFLATED if name.endswith(record) else zipfile.ZIP_STORED)
    with pytest.raises(UserError, match=r"is compressed or encrypted, which torch\.save never does"):
        load_pickled(path)


def test_an_archive_written_again_by_another_tool_is_read(tmp_path):
    """Its storages no longer lie at multiples of 64 bytes."""
    value = torch.randn(33)
    path = changed(save({"w": value, "v": value + 1}, tmp_path / "a.pt"), lambda *record: [record])
    loaded = load_pickled(path)
    assert torch.equal(loaded["w"], value) and torch.equal(loaded["v"], value + 1)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda name, content: [(name, content), (name, content)], "the same name"),
        (lambda name, content: [(name, content), ("b/" + name, content)], r"2 records data\.pkl"),
        (lambda name, content: [(name, b"big" if name.endswith("byteorder") else content)], "another order of bytes"),
        (lambda name, content: [(name, content[:-1] if name.endswith("data/0") else content)], "shorter than"),
        (lambda name, content: [] if name.endswith("data/0") else [(name, content)], "KeyError"),
    ],
)
def test_archives_that_torch_never_writes_are_refused(tmp_path, change, sentence):
    path = changed(save({"w": torch.ones(7)}, tmp_path / "a.pt"), change)
    with pytest.raises(UserError, match=sentence):
        load_pickled(path)


def test_an_archive_with_very_many_records_is_not_listed(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.comment = b""
    content = bytearray((tmp_path / "a.pt").read_bytes())
    end = content.rfind(b"PK\x05\x06")
    content[end + 12 : end + 16] = (5 << 20).to_bytes(4, "little")  # says that the list has 5 MB
    (tmp_path / "a.pt").write_bytes(bytes(6 << 20) + bytes(content))
    (tmp_path / "b.pt").write_bytes(b"PK" + (tmp_path / "a.pt").read_bytes()[2:])
    with pytest.raises(UserError, match="its list of records is too long"):
        load_pickled(tmp_path / "b.pt")


def test_a_tar_archive_is_never_opened(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "a.pt", "w", format=tarfile.PAX_FORMAT) as archive:
        fifo = tarfile.TarInfo("\x80\x02storages")
        fifo.type = tarfile.FIFOTYPE
        archive.addfile(fifo)
    content = (tmp_path / "a.pt").read_bytes()
    for start in (b"", b"\x80\x02"):
        (tmp_path / "a.pt").write_bytes(start + content[len(start) :])
        with pytest.raises(UserError):
            load_pickled(tmp_path / "a.pt")


def test_an_old_file_cannot_name_more_bytes_than_it_has(tmp_path):
    path = save({"w": torch.ones(3)}, tmp_path / "a.pt", legacy=True)
    content = path.read_bytes()
    size = len(content) - 12 - 8
    path.write_bytes(content[:size] + (1 << 60).to_bytes(8, "little") + content[size + 8 :])
    with pytest.raises(UserError, match="a storage is cut off"):
        load_pickled(path)
    assert io.BytesIO(content[-12:]).read() == torch.ones(3).numpy().tobytes()
