"""Hostile pickles, in every form of torch's files, under every suffix, given to everything that reads a file: each is
refused in a sentence, and nothing in it runs."""

import io
import itertools
import os
import pickle
import zipfile
from functools import partial
from pathlib import Path

import pytest
import torch

from launch.embeddings import main as embeddings
from launch.recorded import with_resumed_sweep
from ldm.errors import UserError
from ldm.training.resumption import read_state
from ldm.weights.checkpoint import load_weights, read_weights
from textual_inversion.api import load_model
from textual_inversion.concept import Concept
from textual_inversion.start import start_of
from textual_inversion.words.file import LearnedWord, load_words

CANARY = "canary"


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class WithState:
    """Pickles as an object that is made by a call and then given a state."""

    def __reduce__(self):
        return partial, (os.mkdir,), (os.mkdir, (CANARY,), {}, None)


HOSTILE = {
    "os": Call(os.mkdir, CANARY),
    "exec": Call(exec, f"open({CANARY!r}, 'w')"),
    "eval": Call(eval, f"open({CANARY!r}, 'w')"),
    "open": Call(open, CANARY, "w"),
    "attribute": Call(getattr, Call(__import__, "os"), "mkdir"),
    "system": Call(os.system, f"touch {CANARY}"),
    "partial": Call(partial, os.mkdir, CANARY),
    "state": WithState(),
    "torch": Call(torch.load, "nowhere"),
    "hub": Call(torch.hub.load, "some/where", "model"),
    "nested pickle": Call(pickle.loads, pickle.dumps(Call(os.mkdir, CANARY))),
    "key": {Call(str, CANARY): Call(os.mkdir, CANARY)},
}
OPCODES = {
    "stack_global": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x06canary\x85R.",
    "inst": b"\x80\x02(X\x06\x00\x00\x00canaryios\nmkdir\n.",
    "obj": b"\x80\x02(cos\nmkdir\nX\x06\x00\x00\x00canaryo.",
    "newobj": b"\x80\x02cos\nmkdir\nX\x06\x00\x00\x00canary\x85\x81.",
    "extension": b"\x80\x02\x82\x01)R.",
}


def contents(hostile, form) -> bytes:
    """Return a file of torch.save with the hostile object where a word, weights and a state are looked for."""
    if isinstance(hostile, bytes):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("archive/data.pkl", hostile)
            archive.writestr("archive/version", "3\n")
        magic = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
        return {"zip": buffer.getvalue(), "old": b"".join(magic) + hostile, "bare": hostile}[form]
    content = {"state_dict": {"w": torch.ones(2)}, "global_step": 1, "string_to_param": {"*": torch.ones(1, 16)}}
    content = {"first": hostile, **content}
    if form == "bare":
        return pickle.dumps({"first": hostile}, 2)
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=form == "zip")
    return buffer.getvalue()


def as_part_of_a_pipeline(path: Path) -> None:
    folder = path.parent / "pipeline"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(path.read_bytes())
    load_model(folder)


def as_a_concepts_folder(path: Path) -> None:
    (path.parent / "concept").mkdir()
    (path.parent / "concept" / "learned_embeds.bin").write_bytes(path.read_bytes())
    load_words(path.parent / "concept")


def as_a_record_of_a_sweep(path: Path) -> None:
    (path.parent / "sweep.json").write_bytes(path.read_bytes())
    with_resumed_sweep([f"sweep.resume={path.parent}"])


def with_embeddings(command: str, path: Path) -> None:
    after = {"inspect": [], "convert": ["out.safetensors"], "split": ["out"], "rename": ["a", "b"], "merge": ["out"]}
    if embeddings([command, str(path), *after[command]]) == 1:
        raise UserError("refused")


READERS = {
    "LearnedWord.load": LearnedWord.load,
    "load_words": load_words,
    "concept.start": lambda path: start_of(Concept("S*", "cat", "x", ("{}",), 0.1, start=str(path)), LDM),
    "read_weights": read_weights,
    "load_weights": lambda path: load_weights(torch.nn.Linear(2, 2), path),
    "load_model": load_model,
    "a pipeline": as_part_of_a_pipeline,
    "a concept's folder": as_a_concepts_folder,
    "last.ckpt": read_state,
    "sweep.resume": as_a_record_of_a_sweep,
    **{
        f"embeddings {name}": partial(with_embeddings, name)
        for name in ("inspect", "convert", "split", "rename", "merge")
    },
}
LDM = type("Model", (), {"text_encoder": None})  # a start is read before the model is looked at


FORMS, SUFFIXES = ("zip", "old", "bare"), (".pt", ".bin", ".ckpt", ".safetensors", "")


def require_refusal(reader, program, form, place, suffix) -> None:
    place.mkdir()
    os.chdir(place)
    path = place / f"file{suffix}"
    path.write_bytes(contents(program, form))
    before = path.read_bytes()
    with pytest.raises((UserError, SystemExit)):
        READERS[reader](path)
    assert not (place / CANARY).exists() and not (place / "out.safetensors").exists(), (form, suffix)
    assert path.read_bytes() == before


@pytest.mark.parametrize("reader", READERS)
def test_nothing_in_a_hostile_file_runs(tmp_path, monkeypatch, reader):
    monkeypatch.chdir(tmp_path)
    suffixes = itertools.cycle(SUFFIXES)
    for number, (program, form) in enumerate(itertools.product([*HOSTILE.values(), *OPCODES.values()], FORMS)):
        require_refusal(reader, program, form, tmp_path / str(number), next(suffixes))


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_nothing_in_a_hostile_file_runs_under_any_suffix(tmp_path, monkeypatch, reader):
    monkeypatch.chdir(tmp_path)
    programs = [*HOSTILE.values(), *OPCODES.values()]
    for number, (program, form, suffix) in enumerate(itertools.product(programs, FORMS, SUFFIXES)):
        require_refusal(reader, program, form, tmp_path / str(number), suffix)


@pytest.mark.parametrize(
    ("script", "settings"),
    [
        ("generate", ["word={file}", "prompt=a photo of S*"]),
        ("evaluate", ["word={file}", "images={folder}"]),
        ("export", ["scale=toyland", "module.ldm.weights={file}", "folder={folder}/new"]),
        ("train", ["experiment=cat_toy", "concept.start={file}"]),
        ("train", ["experiment=cat_toy", "start_from={file}"]),
    ],
)
def test_commands_refuse_a_hostile_file(run_script, tmp_path, script, settings):
    file = tmp_path / "file.pt"
    file.write_bytes(contents(Call(os.mkdir, str(tmp_path / CANARY)), "zip"))
    given = [setting.format(file=file, folder=tmp_path) for setting in settings]
    code, said = run_script(script, "debug=tiny", *given, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 1 and "which no weights need; no code in it was run" in said and "Traceback" not in said, said
    assert not (tmp_path / CANARY).exists() and not (tmp_path / "new").exists()
