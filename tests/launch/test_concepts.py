"""The project's own concepts: what is told of them is true, and what ships is what the code renders."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from launch.concepts import (
    CAPTIONS,
    CONCEPTS,
    FOLDER,
    HOME,
    MOST,
    PLACES,
    SHIPPED,
    UNSEEN,
    captions,
    ground_truth,
    write,
    write_unseen,
)
from textual_inversion.pictures import load_pictures
from toyland.attributes import HAIRS, SKINS
from toyland.captions import VOCABULARY, words
from toyland.dataset import truth
from toyland.names import CONCEPT_DISTANCE, PAINTER_OF, PAINTERS_OF, STYLE_DISTANCE, TOYS, distance, settings

TOY_CONCEPTS = [name for name, concept in CONCEPTS.items() if "color" in concept.labels]
STYLE_CONCEPTS = [name for name, concept in CONCEPTS.items() if "style" in concept.labels]


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("name", CONCEPTS)
def test_fewer_pictures_are_the_first_of_more(name):
    two, three = (CONCEPTS[name].scenes(count) for count in (2, 3))
    assert two == three[:2] and len(three) == 3
    assert len(set(three)) == 3


@pytest.mark.parametrize("name", CONCEPTS)
def test_the_labels_of_a_concept_are_true_of_all_its_pictures(name):
    told = ground_truth(name, CONCEPTS[name].scenes(8))
    assert told["labels"].keys() == set(CONCEPTS[name].labels) and len(told["pictures"]) == 8
    for scene in CONCEPTS[name].scenes(8):
        assert told["labels"].items() <= truth(scene).items()


@pytest.mark.parametrize("name", TOY_CONCEPTS)
def test_a_toy_is_the_same_in_every_picture_alone_and_none_that_has_a_name(name):
    scenes = CONCEPTS[name].scenes(7)
    (toy,) = {scene.toy for scene in scenes}
    assert min(distance(toy, named) for named in TOYS.values() if named.kind == toy.kind) >= CONCEPT_DISTANCE
    assert [scene.background for scene in scenes] == [PLACES[i % len(PLACES)] for i in range(7)]
    assert all(scene.companion is None and scene.clothing is None and scene.style.name == "photo" for scene in scenes)


@pytest.mark.parametrize("name", STYLE_CONCEPTS)
def test_a_style_is_the_same_in_every_picture_and_no_painter_has_it(name):
    scenes = CONCEPTS[name].scenes(10)
    (style,) = {scene.style for scene in scenes}
    assert style not in PAINTER_OF
    gaps = [np.linalg.norm(settings(style) - settings(painter)) for painter in PAINTERS_OF[style.name]]
    assert min(gaps) >= STYLE_DISTANCE
    assert len({scene.toy for scene in scenes}) == 10
    assert not {scene.toy for scene in scenes} & set(TOYS.values())


@pytest.mark.parametrize("name", TOY_CONCEPTS)
def test_three_of_five_pictures_of_a_home_set_are_in_one_place(name):
    scenes = CONCEPTS[name].home(10)
    assert {scene.toy for scene in scenes} == {CONCEPTS[name].scenes(1)[0].toy}
    assert scenes[:3] == CONCEPTS[name].home(3) and not set(scenes) & set(CONCEPTS[name].scenes(10))
    for five in (scenes[:5], scenes[5:]):
        (home, times), *others = Counter(scene.background for scene in five).most_common()
        assert times == 3 and home == scenes[0].background and len(others) == 2


def test_there_are_24_toys_and_8_painters_and_no_two_toys_of_a_class_are_alike():
    assert len(TOY_CONCEPTS) == 24 and len(STYLE_CONCEPTS) == 8
    toys = [CONCEPTS[name].scenes(1)[0].toy for name in TOY_CONCEPTS]
    assert len(set(toys)) == 24
    for i, toy in enumerate(toys):
        assert all(distance(toy, other) >= CONCEPT_DISTANCE for other in toys[:i] if other.kind == toy.kind)


def test_the_cat_toy_is_an_orange_and_teal_striped_cat():
    toy = CONCEPTS["cat_toy"].scenes(1)[0].toy
    assert (toy.kind, toy.color.name, toy.color2.name, toy.pattern) == ("cat", "orange", "teal", "striped")


def test_unseen_images_show_the_same_toy_and_are_none_of_the_varied_set(tmp_path):
    write_unseen("cat_toy", tmp_path)
    scenes = json.loads((tmp_path / UNSEEN / "cat_toy" / "concept.json").read_text())["pictures"]
    known = json.loads(json.dumps(ground_truth("cat_toy", CONCEPTS["cat_toy"].scenes(MOST))["pictures"]))
    assert len(scenes) == len(load_pictures(tmp_path / UNSEEN / "cat_toy", 128).images) == MOST
    assert all(scene["toy"] == known[0]["toy"] for scene in scenes)
    assert not [scene for scene in scenes if scene in known]


@pytest.mark.parametrize("count", [5, 24, MOST])
def test_doctors_of_every_skin_and_every_hair_are_about_as_frequent(count):
    toys = [scene.toy for scene in CONCEPTS["doctors"].scenes(count)]
    for attribute, values in (("skin", SKINS), ("hair", HAIRS)):
        counts = Counter(getattr(toy, attribute) for toy in toys)
        assert set(counts) == set(values)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_skin_says_nothing_of_the_hair():
    toys = [scene.toy for scene in CONCEPTS["doctors"].scenes(16)]
    assert len({(toy.skin, toy.hair) for toy in toys}) == 16


@pytest.mark.parametrize("kind", CAPTIONS)
@pytest.mark.parametrize("name", TOY_CONCEPTS)
def test_captions_keep_to_their_number_of_words_and_differ_and_are_words_that_the_model_knows(name, kind):
    (toy,) = {scene.toy for scene in CONCEPTS[name].scenes(1)}
    said, longest = captions(toy, kind), {"short": 12, "long": 30}[kind]
    assert 1 <= len(said) <= SHIPPED and len(set(said)) == len(said)
    for phrase in said:
        assert len(words(phrase)) <= longest
        assert set(words(phrase)) <= VOCABULARY and toy.kind in words(phrase)


@pytest.mark.parametrize("name", TOY_CONCEPTS)
def test_long_captions_say_the_colour_and_the_pattern_and_more_than_short_ones(name):
    (toy,) = {scene.toy for scene in CONCEPTS[name].scenes(1)}
    short, long = (captions(toy, kind) for kind in ("short", "long"))
    assert all({toy.color.name, toy.color2.name, toy.pattern} <= set(words(phrase)) for phrase in long)
    assert np.mean([len(words(phrase)) for phrase in long]) > np.mean([len(words(phrase)) for phrase in short])


@pytest.mark.parametrize("name", ["cat_toy", "pencil_style", f"{HOME}/cat_toy"])
def test_what_ships_is_what_the_code_renders(name, tmp_path):
    write(name.removeprefix(f"{HOME}/"), tmp_path)
    made, shipped = (sorted(path.name for path in folder.iterdir()) for folder in (tmp_path / name, FOLDER / name))
    assert made == shipped
    for file in made:
        ours, theirs = tmp_path / name / file, FOLDER / name / file
        if file.endswith(".webp"):
            assert np.array_equal(read(ours), read(theirs))
        else:
            assert ours.read_text(encoding="utf-8") == theirs.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CONCEPTS)
def test_every_concept_ships_with_its_pictures_and_its_truth(name):
    assert load_pictures(FOLDER / name, 128).images.shape == (SHIPPED, 128, 128, 3)
    told = json.loads((FOLDER / name / "concept.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(ground_truth(name, CONCEPTS[name].scenes(SHIPPED))))
    for kind in CAPTIONS:
        assert (FOLDER / name / f"{kind}.txt").is_file() == (name in TOY_CONCEPTS)
    if name in TOY_CONCEPTS:
        assert load_pictures(FOLDER / HOME / name, 128).images.shape == (SHIPPED, 128, 128, 3)


def test_all_that_ships_is_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 5e6


def test_the_command_writes_as_many_as_asked_where_asked(run_script, tmp_path):
    code, said = run_script("concepts", "owl_toy", "doctors", "--count", "2", "--into", str(tmp_path / "made"))
    assert code == 0, said
    made = {str(path.relative_to(tmp_path / "made")) for path in (tmp_path / "made").rglob("*") if path.is_file()}
    expected = {"doctors/00.webp", "doctors/01.webp", "doctors/concept.json"}
    for folder in ("owl_toy", f"{HOME}/owl_toy"):
        expected |= {f"{folder}/{file}" for file in ("00.webp", "01.webp", "concept.json", "long.txt", "short.txt")}
    assert made == expected


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["unicorn_toy"], "no concept is called unicorn_toy: choose from cat_toy, "),
        (["cat_toy", "--count", "0"], "--count 0: choose 1 to 25"),
        (["cat_toy", "--count", "26"], "--count 26: choose 1 to 25"),
    ],
)
def test_a_mistake_ends_in_one_sentence_and_writes_nothing(run_script, tmp_path, arguments, what):
    code, said = run_script("concepts", *arguments, "--into", str(tmp_path / "made"))
    assert code and what in said and "Traceback" not in said
    assert not (tmp_path / "made").exists()
