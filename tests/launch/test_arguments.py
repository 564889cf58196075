"""What a command line means before Hydra reads it: help, and texts that are taken as they are."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from launch.arguments import choices, quote_text

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))


def read(argument):
    """The value that Hydra reads."""
    override = OverridesParser.create().parse_override(argument)
    assert not override.is_sweep_override()
    return override.value()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("prompt=a photo of S*", "a photo of S*"),
        ("prompt=a photo of S*, on the moon", "a photo of S*, on the moon"),
        ("prompt=a cat's photo of S*", "a cat's photo of S*"),
        ('prompt=a "cat" of S*, it\'s \\ here', 'a "cat" of S*, it\'s \\ here'),
        ("prompt=a photo of <cat-toy> (blue)", "a photo of <cat-toy> (blue)"),
        ("prompt=S* = {cat}", "S* = {cat}"),
        ("prompt=2024", "2024"),
        ("prompt=J\u00f6rg's S*", "J\u00f6rg's S*"),
        ('prompt="a photo of S*, here"', "a photo of S*, here"),
        ("prompt='a, b'", "a, b"),
        ("prompt=[a photo of S*, S* on the moon]", ["a photo of S*", "S* on the moon"]),
        ("prompt=['a, b', c]", ["a, b", "c"]),
        ("concept.placeholder=<cat-toy>", "<cat-toy>"),
        ("concept.placeholder=*", "*"),
        ("concept.images=/a/cat's photos", "/a/cat's photos"),
        ("against=/a/cat, earlier (1)", "/a/cat, earlier (1)"),
        ("word=[]", []),
        ("word=null", None),
        ("seed=3", 3),
        ("optim.lr=0.01", 0.01),
    ],
)
def test_a_text_means_what_it_says_and_a_list_is_a_list(argument, value):
    assert read(quote_text(argument)) == value
    assert quote_text(quote_text(argument)) == quote_text(argument)


def test_values_of_a_sweep_stay_apart_but_not_the_name_of_a_folder(tmp_path):
    for argument in ("optim.lr=0.01,0.02", "concept.initializer=cat,dog"):
        assert quote_text(argument) == argument
    assert quote_text("prompt=S*,T*", sweep=True) == "prompt=S*,T*"
    (tmp_path / "cat, mine").mkdir()
    assert read(quote_text(f"concept.images={tmp_path / 'cat, mine'}")) == str(tmp_path / "cat, mine")


HELP = """
import contextlib, io, json, pathlib, runpy, sys
said = {}
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stop:
            assert not stop.code, script
    assert "torch" not in sys.modules, script
    said[pathlib.Path(script).stem] = out.getvalue()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def helps(tmp_path_factory):
    """The help of every command, from one process and an empty folder."""
    folder = tmp_path_factory.mktemp("empty")
    call = [sys.executable, "-c", HELP, *(str(ROOT / "scripts" / f"{name}.py") for name in COMMANDS)]
    done = subprocess.run(call, cwd=folder, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0 and not done.stderr and not list(folder.iterdir()), done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_does_with_two_examples_and_without_torch(helps, name):
    lines = helps[name].splitlines()
    examples = [line for line in lines if f"scripts/{name}.py" in line]
    assert len(examples) >= 2 and all(line.strip().startswith(sys.executable) for line in examples), helps[name]
    assert len(lines[0]) > 20


def test_help_lists_what_can_be_chosen():
    found = dict(choices("train"))
    assert "cat_toy" in found["experiment"] and "owl_toy" in found["concept"] and "toyland" in found["scale"]
    assert dict(choices("fetch"))["model"] == ["clip_vit_b32", "ldm_1p4b", "stable_diffusion_v1"]


@pytest.mark.parametrize("command", ["train --help", "train experiment=cat_toy --cfg job", "embeddings --help"])
def test_what_only_prints_ends_without_a_word_when_nobody_reads(command, tmp_path):
    name, *arguments = command.split()
    read, write = os.pipe()
    os.close(read)
    call = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *arguments]
    with open(write, "wb") as closed:
        done = subprocess.run(call, cwd=tmp_path, stdout=closed, stderr=subprocess.PIPE, encoding="utf-8", check=False)
    assert done.returncode == -signal.SIGPIPE and not done.stderr
