"""What a command writes to its folder is of one request, also after kills and with two commands at once. Nothing that
is there already is overwritten by another request."""

import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from launch.benchmarks.kills import Kill, Trainings
from launch.benchmarks.same_runs import differences
from tests.conftest import ROOT
from textual_inversion.words.file import FILE_NAME, LearnedWord, save_words

CAT = ["debug=tiny", "sampler.steps=1", "prompt=a cat", "count=2"]
OWL = ["debug=tiny", "sampler.steps=1", "prompt=an owl", "count=1"]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".log"}


@pytest.fixture
def generate(run_script, tmp_path):
    def run(*settings):
        return run_script("generate", *settings, f"hydra.run.dir={tmp_path / 'run'}")

    return run


def test_pictures_of_another_request_stay(generate, tmp_path):
    code, said = generate(*CAT)
    assert code == 0, said
    before = contents(tmp_path / "run")
    assert before.keys() == {"00-00.png", "00-01.png", "sheet.html", "sheet.png", "generate.yaml"}
    code, said = generate(*OWL)
    assert code == 1 and "00-00.png exists, and is not of this request: choose another folder" in said, said
    assert contents(tmp_path / "run") == before
    dead = tmp_path / "run" / f".00-00.png.{socket.gethostname()}-{2**22 + 1}.partial"  # no process has this number
    dead.write_bytes(b"half")
    (tmp_path / "run" / "00-01.png").unlink()
    code, said = generate(*CAT)
    assert code == 0 and contents(tmp_path / "run").keys() == before.keys(), said


@pytest.mark.parametrize("name", ["00-00.png", "sheet.png"])
def test_pictures_of_the_user_stay(generate, tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_bytes(b"mine")
    code, said = generate(*CAT)
    assert code == 1 and f"{name} exists, and is not of this request" in said, said
    assert contents(tmp_path / "run") == {name: b"mine"}


def test_a_request_that_made_nothing_is_in_nobodys_way(generate, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "generate.yaml").write_bytes(b"\xff{")
    (tmp_path / "run" / "notes.png").write_bytes(b"mine")
    code, said = generate(*OWL)
    assert code == 0 and contents(tmp_path / "run")["notes.png"] == b"mine", said


@pytest.mark.integration
def test_two_commands_at_once_do_not_mix_their_pictures(tmp_path):
    script, place = [sys.executable, "scripts/generate.py"], f"hydra.run.dir={tmp_path / 'run'}"
    both = [
        subprocess.Popen([*script, *job, place], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for job in ([*CAT, "count=8"], [*OWL, "count=4"])
    ]
    said = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    count = 8 if both[0].returncode == 0 else 4
    assert contents(tmp_path / "run").keys() == {
        *(f"00-{i:02d}.png" for i in range(count)), "sheet.html", "sheet.png", "generate.yaml",
    }  # fmt: skip


JOBS = {
    "generate": [*CAT, "hydra.run.dir={run}"],
    "edit": [*CAT, "image={given}/cat.png", "mask=[0,0,0.5,0.5]", "hydra.run.dir={run}"],
    "read_word": ["debug=tiny", "sampler.steps=2", "between=2", "shown=1", "word={given}", "hydra.run.dir={run}"],
    "evaluate": [
        "debug=tiny", "sampler.steps=1", "protocol.samples=2", "protocol.prompt_samples=1", "word={given}",
        "images={given}", "hydra.run.dir={run}",
    ],
    "export": ["debug=tiny", "scale=toyland", "folder={cache}", "hydra.run.dir={run}"],
    "embeddings": ["convert", "{given}", "{run}.pt"],
}  # fmt: skip


@pytest.mark.integration
@pytest.mark.parametrize("script", JOBS)
def test_a_killed_command_leaves_nothing_in_the_way_of_the_next(tmp_path, script):
    given = tmp_path / "given"
    save_words(given / FILE_NAME, [LearnedWord("S*", torch.ones(1, 16))])
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(given / "cat.png")
    arguments = [argument.replace("{given}", str(given)) for argument in JOBS[script]]
    command = Trainings(tmp_path / "runs", arguments, script)
    command.undisturbed()
    assert command.events > 0
    for event in sorted({1, command.events // 2, command.events - 1, command.events} - {0}):
        command.resumed(Kill(signal.SIGKILL, event))
    for trial in range(1, command.trials + 1):
        found = differences(tmp_path / "runs" / "undisturbed", tmp_path / "runs" / f"trial{trial}")
        assert not found, found
