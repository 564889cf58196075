"""No code in a file is ever run: all unpickling goes through `ldm.weights.pickled`, which calls nothing."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ldm.training.resumption import read_state

ROOT = Path(__file__).resolve().parents[2]
EXECUTES = ROOT / "tests" / "files" / "executes.pickled"  # a last.ckpt; unpickling it creates a file named canary
ROOMS = ("ldm", "textual_inversion", "toyland", "launch", "scripts", "notebooks")
SOURCES = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def unsafe(source: str) -> list[str]:
    """Return the lines of a program that unpickle arbitrary objects."""
    found, tree = [], ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load":
            found.append("torch.load")
        if isinstance(node, ast.Attribute) and node.attr in ("load", "loads", "Unpickler", "open"):
            found += [ast.unparse(node)] if ast.unparse(node.value) in UNPICKLERS else []
        if isinstance(node, ast.Attribute) and node.attr in ("load_from_checkpoint", "read_pickle"):
            found.append(node.attr)
        if (
            isinstance(node, ast.keyword)
            and node.arg == "allow_pickle"
            and getattr(node.value, "value", None) is not False
        ):
            found.append("allow_pickle")
        if not isinstance(node, ast.ImportFrom):
            continue
        names = {alias.name for alias in node.names}
        if node.module in UNPICKLERS or (node.module in ("torch", "torch.serialization") and "load" in names):
            found.append(f"from {node.module}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_unpickles_but_the_reader(path):
    assert unsafe(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(f)", "torch.load(f, weights_only=False)", "torch.load(f, weights_only=True)", "read = torch.load",
        "pickle.load(f)", "pickle.loads(b)", "pickle.Unpickler(f)", "from pickle import loads", "joblib.load(f)",
        "np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=p)", "from torch import load", "dill.load(f)",
        "Pack.load_from_checkpoint(f)", "pd.read_pickle(f)",
    ],
)  # fmt: skip
def test_the_walk_finds(source):
    assert len(unsafe(source)) == 1


def test_the_walk_lets_pass():
    assert unsafe("load_pickled(f); np.load(f, mmap_mode='r'); json.load(f); yaml.load(f)") == []
    assert len(SOURCES) > 80


def test_a_state_is_read_whole_and_anything_else_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = {"global_step": 3, "state_dict": {"v": torch.ones(2)}, "callbacks": {"best": None, "seen": [1, (2.5, "x")]}}
    torch.save(state, "good.ckpt")
    assert str(read_state("good.ckpt")) == str(state)
    torch.save(torch.ones(2), "tensor.ckpt")
    Path("empty.ckpt").touch()
    Path("cut.ckpt").write_bytes(Path("good.ckpt").read_bytes()[:-200])
    shutil.copy(EXECUTES, "executes.ckpt")
    for name in ("tensor", "empty", "cut", "executes"):
        with pytest.raises(ValueError, match=rf"{name}\.ckpt is damaged or not a training checkpoint.* no code"):
            read_state(f"{name}.ckpt")
    assert not Path("canary").exists()


@pytest.mark.integration
@pytest.mark.parametrize("launcher", ["none", "local", "packed"])
def test_a_planted_checkpoint_is_never_run(tmp_path, launcher):
    folder = tmp_path / "run"
    job = folder if launcher == "none" else folder / "0"
    job.mkdir(parents=True)
    shutil.copy(EXECUTES, job / "last.ckpt")
    command = ["experiment=cat_toy", "debug=tiny", "~callbacks.sheet", f"concept.images={ROOT}/assets/concepts/cat_toy"]
    command += [f"hydra.run.dir={folder}"] if launcher == "none" else [f"hydra.sweep.dir={folder}"]
    command += [] if launcher == "none" else [f"launcher={launcher}", "optim.lr=0.01,0.02"]
    before = set(ROOT.iterdir())
    call = [sys.executable, "scripts/train.py", *command]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(call, cwd=ROOT, capture_output=True, encoding="utf-8", env=environment, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "no code in it was run" in said and "Traceback" not in said, said
    assert not (ROOT / "canary").exists() and set(ROOT.iterdir()) <= before | {ROOT / "runs", ROOT / "cache"}
