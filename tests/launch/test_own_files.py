"""A mistake never costs the user a file or a folder: a command removes only what it has created itself."""

import pytest

from tests.conftest import ROOT

RUNS = {
    "train": ["experiment=cat_toy", "debug=tiny", "optim.lr=nan"],
    "export": ["scale=toyland", "debug=tiny", "folder={there}"],
    "generate": ["word=nowhere.safetensors", "prompt=a photo of S*"],
}


@pytest.fixture
def mistaken(run_script, tmp_path):
    """Run a command with a user error in a run folder."""

    def run(name, folder):
        arguments = [argument.format(there=tmp_path) for argument in RUNS[name]]
        code, said = run_script(name, *arguments, f"hydra.run.dir={folder}")
        assert code == 1 and "error: " in said, said

    return run


@pytest.mark.parametrize("name", RUNS)
def test_logs_of_the_user_stay(mistaken, tmp_path, name):
    folder = tmp_path / "above" / "logs"
    folder.mkdir(parents=True)
    (folder / "mine.log").write_text("mine")
    (folder / f"{name}.log").write_text("an earlier run\n")
    mistaken(name, folder)
    assert {path.name for path in folder.iterdir()} == {"mine.log", f"{name}.log"}
    assert (folder / "mine.log").read_text() == "mine"
    assert (folder / f"{name}.log").read_text().startswith("an earlier run\nerror: ")


@pytest.mark.parametrize("name", RUNS)
def test_empty_folders_of_the_user_stay(mistaken, tmp_path, name):
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    mistaken(name, folder)
    assert folder.is_dir() and not any(folder.iterdir())
    mistaken(name, folder / "d" / "e")
    assert folder.is_dir() and not any(folder.iterdir())


@pytest.mark.parametrize("name", ["train", "export"])
def test_what_the_command_has_made_itself_disappears(mistaken, tmp_path, name):
    mistaken(name, tmp_path / "runs" / "cats" / "run")
    assert not (tmp_path / "runs").exists()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "other").mkdir()
    mistaken(name, tmp_path / "runs" / "cats" / "run")
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"other"}


def test_files_of_the_user_stay_in_a_folder_through_a_link(mistaken, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "notes.log").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    mistaken("train", tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "notes.log").read_text() == "mine"
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["notes.log"]


def test_runs_of_the_same_second_never_share_a_folder():
    lines = [line for path in (ROOT / "configs").rglob("*.yaml") for line in path.read_text().splitlines()]
    timed = [line for line in lines if "dir:" in line and "${now:" in line]
    assert len(timed) >= 8 and all("${fresh:" in line for line in timed)
