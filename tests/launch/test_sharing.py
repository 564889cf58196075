"""`scripts/embeddings.py card` and `push`: a folder for the hub's library of concepts."""

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from launch.embeddings import main
from ldm.images import save_png
from textual_inversion.callbacks import SHEET
from textual_inversion.words.file import FILE_NAME, LearnedWord

ORIGIN = {
    "initializer": "cat | <b>",
    "steps": 600,
    "learning_rate": 0.01,
    "seed": 3,
    "model": "stable_diffusion_v1",
    "config": "images: /home/me/photos",
    "start": "/home/me/cat.pt",
}


@pytest.fixture
def run(tmp_path):
    """A run folder with a word and a sheet, whose text holds a path."""
    LearnedWord("<cat-toy>", torch.randn(2, 768), ORIGIN).save(tmp_path / "run" / FILE_NAME)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    save_png(tmp_path / "run" / SHEET, pixels, texts={"words": "/home/me/cat.pt"})
    return tmp_path / "run"


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """Nobody is logged in to the hub."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))


def test_the_folder_has_the_word_its_name_pictures_and_a_card(run, tmp_path, capsys):
    assert main(["card", str(run), str(tmp_path / "toy"), "--license", "cc-by-4.0"]) == 0
    folder = tmp_path / "toy"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"README.md", FILE_NAME, "token_identifier.txt", "concept_images/0.png"}
    assert (folder / "token_identifier.txt").read_text() == "<cat-toy>"
    word = LearnedWord.load(folder)
    assert word.placeholder == "<cat-toy>" and torch.equal(word.vectors, LearnedWord.load(run).vectors)
    assert torch.equal(load_file(folder / FILE_NAME)["<cat-toy>"], word.vectors)  # as diffusers reads it
    _, head, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    data = yaml.safe_load(head)
    assert (data["license"], data["base_model"]) == ("cc-by-4.0", "CompVis/stable-diffusion-v1-4")
    assert "textual_inversion" in data["tags"] and "# &lt;cat-toy&gt;" in text
    rows = ("| initializer | cat &#124; &lt;b&gt; |", "| steps | 600 |", "| learning rate of the optimiser | 0.01 |")
    assert all(row in text for row in rows) and "(concept_images/0.png)" in text
    with Image.open(folder / "concept_images" / "0.png") as shared, Image.open(run / SHEET) as own:
        assert (np.asarray(shared) == np.asarray(own)).all() and own.info["words"] and not shared.info
    assert not any(b"/home/me" in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert "push" in capsys.readouterr().out


def test_pictures_the_base_model_and_the_license_can_be_chosen(tmp_path):
    LearnedWord("S*", torch.randn(1, 256), {"model": "../../toyland"}).save(tmp_path / "a.safetensors")
    Image.new("L", (4, 4)).save(tmp_path / "a.jpg")
    made = [str(tmp_path / "a.safetensors"), str(tmp_path / "toy"), "--pictures", *[str(tmp_path / "a.jpg")] * 2]
    assert main(["card", *made, "--base-model", "me/toyland"]) == 0
    data = yaml.safe_load((tmp_path / "toy" / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert (data["license"], data["base_model"]) == ("unknown", "me/toyland")
    assert len(list((tmp_path / "toy" / "concept_images").iterdir())) == 2
    assert main(["card", *made[:1], str(tmp_path / "bare")]) == 0
    assert "base_model" not in (tmp_path / "bare" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["card", "none", "new"], "there are no learned words at"),
        (["card", "run", "run"], "already exists: choose another folder"),
        (["card", "run", "new", "--license", "MIT License"], "none of the hub: give a short name"),
        (["card", "run", "new", "--base-model", "toyland"], "is no name on the hub: give <user>/<name>"),
        (["card", "run", "new", "--pictures", "none.png"], "there is no picture at none.png"),
        (["card", "run", "new", "--pictures", "run/learned_embeds.safetensors"], "cannot be read as a picture"),
        (["push", "run", "me/toy"], "has no README.md: make the folder with"),
        (["push", "toy", "a b"], "is no name on the hub"),
        (["push", "toy", "me/toy"], "you are not logged in to the hub: run `hf auth login` once"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_and_sends_nothing(
    run, nobody, tmp_path, capsys, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    assert main(["card", "run", "toy"]) == 0
    capsys.readouterr()
    assert main(arguments) == 1
    (said,) = capsys.readouterr().out.strip().splitlines()
    assert sentence in said and not (tmp_path / "new").exists()


def test_a_hub_that_is_not_reached_is_said(run, nobody, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    assert main(["card", str(run), str(tmp_path / "toy")]) == 0
    assert main(["push", str(tmp_path / "toy"), "me/toy"]) == 1  # the tests are offline
    assert "the hub has not taken me/toy (OfflineModeIsEnabled): check the connection" in capsys.readouterr().out
