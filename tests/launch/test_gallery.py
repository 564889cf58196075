"""scripts/gallery.py with the tiny model; README shows what it makes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from launch.gallery import Film
from textual_inversion import load_model
from textual_inversion.words.file import load_words

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "assets" / "pictures" / "gallery"


@pytest.mark.integration
def test_every_picture_is_made(run_script, tmp_path):
    few = ["debug=tiny", "count=3", "sampler.steps=1", "film.every=3", "film.side=16"]
    code, said = run_script("gallery", *few, f"hydra.run.dir={tmp_path}")
    assert code == 0, said
    made = {path.name for path in tmp_path.glob("*.*") if path.suffix in (".jpg", ".webp")}
    assert made == {path.name for path in PICTURES.iterdir()}
    (word,) = load_words(tmp_path / "pencil.safetensors")
    assert word.placeholder == "<pencil>"


def test_the_film_has_a_frame_for_every_so_many_steps(tmp_path):
    film = Film(load_model("tiny", device="cpu"), "S*", "a photo of S*", every=2)
    for step in range(1, 5):
        film(step, torch.tensor(0.1), torch.ones(1, 16))
    assert len(film.frames) == 3  # after steps 1, 2 and 4
    film.frames = [Image.new("RGB", (16, 16), color) for color in ("red", "green", "blue")]
    film.save(tmp_path / "film.webp", side=32)
    with Image.open(tmp_path / "film.webp") as saved:
        assert saved.n_frames == 3 and saved.size == (32, 32)
        saved.seek(2)
        assert np.asarray(saved.convert("RGB"))[16, 16].argmax() == 2


def test_readme_shows_every_picture_and_none_is_large():
    shown = set(re.findall(r"assets/pictures/gallery/([\w.]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert shown == {path.name for path in PICTURES.iterdir()}
    assert all(path.stat().st_size <= 400_000 for path in PICTURES.iterdir())
