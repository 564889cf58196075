"""The ready files of docs/cluster: what the container recipes copy is all that a training needs."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "cluster"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
APPTAINER = (FOLDER / "apptainer.def").read_text(encoding="utf-8")


def copied_by_docker() -> dict[str, str]:
    """Return source -> target of what the image has from the project."""
    pairs = {}
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, target = line.split()
        pairs |= {source: f"/project/{source if target == './' else target}" for source in sources}
    return pairs


def copied_by_apptainer() -> dict[str, str]:
    files = APPTAINER.partition("%files\n")[2].partition("\n\n")[0]
    return dict(line.split() for line in files.splitlines())


def test_the_recipes_copy_and_install_the_same():
    assert copied_by_docker() == copied_by_apptainer()
    assert all((ROOT / source).exists() for source in copied_by_docker())
    assert "\nFROM python:3.11-slim\n" in DOCKERFILE and "\nFrom: python:3.11-slim\n" in APPTAINER
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11" and "python=3.11" in (ROOT / "environment.yml").read_text()
    install = "pip install --no-cache-dir -c constraints.txt -e ."
    assert install in DOCKERFILE and install in APPTAINER
    assert {file for file in project["license-files"]} < copied_by_docker().keys()


@pytest.mark.integration
def test_what_the_recipes_copy_is_enough_for_a_training(tmp_path):
    """Trains from a folder with those files alone. The packages of the environment are those that pip would install."""
    image, elsewhere = tmp_path / "project", tmp_path / "work"
    elsewhere.mkdir()
    for source, target in copied_by_docker().items():
        place = tmp_path / target.lstrip("/")
        place.parent.mkdir(exist_ok=True)
        shutil.copytree(ROOT / source, place) if (ROOT / source).is_dir() else shutil.copy(ROOT / source, place)
    command = [sys.executable, str(image / "scripts" / "train.py"), "experiment=cat_toy", "debug=tiny"]
    environment = os.environ | {"PYTHONPATH": str(image), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "~callbacks.sheet"], cwd=elsewhere, env=environment, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (word,) = elsewhere.glob("runs/cat_toy/*/learned_embeds.safetensors")
    assert (word.parent / "config.yaml").read_text(encoding="utf-8").count(str(image)) > 0


def test_the_batch_script_is_one_of_bash():
    subprocess.run(["bash", "-n", FOLDER / "train.sbatch"], check=True)
