"""The recipe in a picture's file: what goes in comes out again, and what others put in is only data."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ldm.errors import UserError
from ldm.images import save_png
from ldm.sampling import Sampler, ancestral, ddim, dpm_solver, every_timestep, plms, trailing_timesteps
from textual_inversion import LearnedWord, generate, load_model, read_recipe, save_picture
from textual_inversion.recipe import KEY, MOST_TEXT, Recipe, SamplerRecord, UsedWord

RECIPE = Recipe(
    prompt='a photo of "S*", <b>on</b> the mööön\nand a line',
    negative_prompt="blue, snow",
    seed=3,
    index=5,
    batch=6,
    guidance=5.0,
    sampler=SamplerRecord("ddim", "ddim_timesteps", 50, {"eta": 0.5}),
    image_size=16,
    model="tiny",
    weights="0123456789abcdef",
    precision="float32",
    words={"S*": UsedWord("/home/me/cat.safetensors", "fedcba9876543210"), "<owl>": UsedWord(None, "00")},
)


def write(path, text, key=KEY):
    chunks = PngInfo()
    chunks.add_text(key, text)
    Image.new("RGB", (4, 4)).save(path, pnginfo=chunks)
    return path


def changed(*keys, to):
    """Return the recipe as JSON data with the value at the path `keys` replaced."""
    data = json.loads(RECIPE.texts()[KEY])
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    return json.dumps(data)


def test_a_recipe_comes_out_of_the_file_as_it_went_in(tmp_path):
    save_png(tmp_path / "a.png", np.zeros((16, 16, 3), dtype=np.uint8), texts=RECIPE.texts())
    assert read_recipe(tmp_path / "a.png") == RECIPE
    with Image.open(tmp_path / "a.png") as image:
        lines = image.info["parameters"].split("\n")
    assert lines[2] == "Negative prompt: blue, snow"
    assert "Steps: 50, Sampler: ddim, eta 0.5, CFG scale: 5.0, Seed: 3, Index: 5, Size: 16x16" in lines[3]


def test_pictures_of_python_are_written_with_what_they_were_made_from(tmp_path):
    ldm, rng = load_model("tiny", device="cpu"), torch.Generator().manual_seed(0)
    LearnedWord("S*", torch.randn(1, 16, generator=rng)).save(tmp_path / "cat.safetensors")
    words = {"<a>": LearnedWord.load(tmp_path / "cat.safetensors"), "<b>": LearnedWord("S*", torch.ones(1, 16))}
    options = {"seed": 7, "guidance": 3, "steps": 2, "negative_prompt": "blue", "progress": False, "batch_size": 2}
    images = generate(ldm, ["a photo of <a>", "<a> and <b>", "<b>"], words, **options)
    save_picture(tmp_path / "one.png", images[1])
    recipe = read_recipe(tmp_path / "one.png")
    assert (np.asarray(Image.open(tmp_path / "one.png")) == np.asarray(images[1])).all()
    assert (recipe.prompt, recipe.seed, recipe.index, recipe.batch) == ("<a> and <b>", 7, 1, 2)
    assert recipe.words["<a>"] == UsedWord(str(tmp_path / "cat.safetensors"), words["<a>"].digest)
    assert recipe.words["<b>"].file is None and [image.info["recipe"].batch for image in images] == [2, 2, 1]
    assert images[2].info["recipe"].words.keys() == {"<b>"}
    alone = {"seed": recipe.seed, "index": recipe.index, "guidance": recipe.guidance, "batch_size": recipe.batch}
    alone |= {"sampler": recipe.sampler.build(), "negative_prompt": recipe.negative_prompt, "progress": False}
    (again,) = generate(ldm, recipe.prompt, words, fill=True, **alone)
    assert again.tobytes() == images[1].tobytes() and again.info["recipe"] == recipe
    with pytest.raises(UserError, match="no recipe"):
        save_picture(tmp_path / "two.png", Image.new("RGB", (4, 4)))
    assert not (tmp_path / "two.png").exists()


def test_the_hash_of_the_weights_follows_every_change_of_them():
    ldm = load_model("tiny", device="cpu")
    hashes = []
    for factor in (1.0, -1.0, -1.0):
        with torch.no_grad():
            next(ldm.unet.parameters()).mul_(factor)
        (image,) = generate(ldm, "a cat", steps=1, progress=False)
        hashes.append(image.info["recipe"].weights)
    assert hashes[0] != hashes[1] and hashes[0] == hashes[2]


@pytest.mark.parametrize(
    "sampler",
    [
        Sampler(5, ancestral, every_timestep),
        Sampler(4, partial(ddim, eta=1.0)),
        Sampler(3, plms),
        Sampler(2, dpm_solver, trailing_timesteps),
    ],
    ids=lambda sampler: sampler.name,
)
def test_a_sampler_is_built_again_from_its_record(sampler):
    again = SamplerRecord.of(sampler).build()
    assert (again.steps, again.spacing, again.name) == (sampler.steps, sampler.spacing, sampler.name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"solver": "ddim_invert"},
        {"solver": "_require"},
        {"solver": "torch.hub.load"},
        {"spacing": "falling"},
        {"options": {"eps": 1.0}},
        {"options": {"colour": 1.0}},
    ],
)
def test_a_record_names_no_other_function_and_no_other_setting(wrong):
    with pytest.raises(UserError, match=r"choose another one with sampler=|has no setting"):
        replace(RECIPE.sampler, **wrong).build()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "{" * 50_000,
        '{"prompt": ' + "9" * 5000 + "}",
        " " * (MOST_TEXT + 1),
        changed("format", to=2),
        changed("_target_", to="os.system"),
        changed("prompt", to=["a"]),
        changed("prompt", to="\ud800"),
        changed("seed", to=-1),
        changed("seed", to=True),
        changed("index", to=2**80),
        changed("batch", to=10**9),
        changed("guidance", to="5"),
        changed("guidance", to=10**400),
        RECIPE.texts()[KEY].replace("5.0", "NaN"),
        changed("sampler", "steps", to=10**9),
        changed("sampler", "options", to={"eta": [1]}),
        changed("sampler", to={"_target_": "os.system"}),
        changed("model", to="../../etc"),
        changed("model", to=["tiny"]),
        changed("words", to=[]),
        changed("words", "S*", to="/etc/passwd"),
        changed("words", "S*", "file", to="a\nb\x1b[2J"),
        changed("words", to={"S*\x1b": {"file": "a", "digest": "b"}}),
    ],
)
def test_parameters_that_are_broken_or_hostile_end_in_one_sentence(tmp_path, text):
    with pytest.raises(UserError, match=r"the parameters in .*a\.png are broken \(.{1,200}\): this picture cannot"):
        read_recipe(write(tmp_path / "a.png", text))


def test_a_config_in_a_text_stays_a_text(tmp_path):
    prompt = "${oc.env:HOME} {_target_: os.system} a photo"
    assert read_recipe(write(tmp_path / "a.png", changed("prompt", to=prompt))).prompt == prompt


def test_what_is_no_picture_with_parameters_is_said(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.jpg")
    (tmp_path / "text.png").write_text("a cat")
    bomb = PngInfo()
    bomb.add_text(KEY, "a" * 10_000_000, zip=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "bomb.png", pnginfo=bomb)
    for path, said in [
        (tmp_path / "none.png", "there is no picture at"),
        (tmp_path, "there is no picture at"),
        (tmp_path / "photo.jpg", "cannot be read as a PNG"),
        (tmp_path / "text.png", "cannot be read as a PNG"),
        (tmp_path / "bomb.png", "cannot be read as a PNG"),
        (write(tmp_path / "other.png", "Steps: 20", "parameters"), "holds no parameters"),
    ]:
        with pytest.raises(UserError, match=said):
            read_recipe(path)
