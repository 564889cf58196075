"""What the page of scripts/app.py does, without a browser: uploads, what reaches a config, words, and masks."""

import shutil
import socket
import sys
import time

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from launch import CONFIGS
from launch.app.page import import_gradio, require_free
from launch.app.requests import LearningRequest, setups
from launch.app.trainings import Trainings
from launch.app.uploads import Uploads, copy_pictures, read_uploads, require_enough
from launch.app.words import FORMATS, Words, write_for
from ldm.errors import UserError
from textual_inversion.picture_file import read_square
from textual_inversion.words.file import LearnedWord, load_words

CAT = sorted((CONFIGS.parent / "assets/concepts/cat_toy").glob("*.webp"))
REQUEST = {
    "placeholder": "S*",
    "initializer": "cat",
    "style": False,
    "setup": "one",
    "steps": 600,
    "rate": None,
    "seed": 0,
}
HOSTILE = ["", " ", "a b", "${oc.env:HOME}", "{a: 1}", "[a,b]", "a,b", "../x", "a'b", 'a"b', "a\\b", "a=b", "a\nb",
           "x" * 31, "\0", "$x", "a/b", "~", None, 3]  # fmt: skip


@pytest.fixture
def composed(tmp_path):
    def compose_with(run=tmp_path / "run", given=("debug=tiny",), templates="toyland", **changes):
        overrides = LearningRequest(**REQUEST | changes).overrides(run, list(given), templates)
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return compose("train", [o for o in overrides if not o.startswith("hydra.")])

    return compose_with


def test_uploads_are_cropped_as_the_model_sees_them(tmp_path):
    wide = tmp_path / "wide.png"
    Image.fromarray(np.arange(30 * 50 * 3, dtype=np.uint8).reshape(30, 50, 3)).save(wide)
    uploads = read_uploads([wide, *CAT], 16)
    assert uploads.paths == [wide, *CAT] and not uploads.skipped
    assert (uploads.images[0] == np.asarray(read_square(wide, 16))).all()


def test_what_is_skipped_is_named_with_its_reason(tmp_path):
    broken, text, mask = tmp_path / "a.png", tmp_path / "b.txt", tmp_path / f"{CAT[0].stem}_mask.png"
    broken.write_bytes(CAT[0].read_bytes()[:2000])
    text.write_text("words", encoding="utf-8")
    shutil.copyfile(CAT[0], mask)
    uploads = read_uploads([*CAT, broken, text, mask], 16)
    reasons = dict(uploads.skipped)
    assert len(uploads.images) == 5
    assert reasons["a.png"].startswith("it is a WEBP that cannot be decoded")
    assert reasons["b.txt"] == "not a picture"
    assert reasons[mask.name] == f"a mask or a map of {CAT[0].name}"
    assert str(tmp_path) not in "".join(reasons.values())


def test_too_many_files_are_refused_before_one_is_opened(tmp_path):
    with pytest.raises(UserError, match=r"26 files.* at most 25"):
        read_uploads([tmp_path / f"missing-{i}.png" for i in range(26)], 16)


def test_too_few_pictures_are_refused():
    with pytest.raises(UserError, match="2 usable pictures: add at least 1 more"):
        require_enough(read_uploads(CAT[:2], 16))


def test_copies_have_names_that_no_browser_has_chosen(tmp_path):
    shutil.copyfile(CAT[0], tmp_path / "a $(x)';.PNG")
    copy_pictures(read_uploads([tmp_path / "a $(x)';.PNG", CAT[1]], 16), tmp_path / "pictures")
    copies = sorted((tmp_path / "pictures").iterdir())
    assert [copy.name for copy in copies] == ["00.webp", "01.webp"]
    assert copies[0].read_bytes() == CAT[0].read_bytes()


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
@pytest.mark.parametrize("field", ["placeholder", "initializer", "setup"])
def test_text_that_could_mean_something_to_a_config_or_a_path_is_refused(field, text):
    with pytest.raises(UserError):
        LearningRequest(**REQUEST | {field: text})


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"steps": 1e9}, {"steps": 10**9}, {"steps": "5"}, {"steps": None}, {"seed": -1}, {"seed": 2**31},
     {"rate": 0.0}, {"rate": -1.0}, {"rate": float("nan")}, {"rate": float("inf")}, {"rate": "1"}],
    ids=str,
)  # fmt: skip
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(UserError):
        LearningRequest(**REQUEST | wrong)


@pytest.mark.parametrize(
    "placeholder", ["S*", "<cat-toy>", "*", "null", "true", "1", "1e3", "käse", "猫", "a.b", "-x", "<->"]
)
def test_the_name_of_a_word_reaches_the_training_as_it_was_typed(tmp_path, placeholder):
    overrides = LearningRequest(**REQUEST | {"placeholder": placeholder}).overrides(tmp_path, [], "toyland")
    values = {each.key_or_group: each.value() for each in OverridesParser.create().parse_overrides(overrides)}
    assert str(values["concept.placeholder"]) == placeholder and isinstance(values["concept.placeholder"], str)


def test_a_lesson_sets_what_it_says(composed, tmp_path):
    run = tmp_path / "it's [a], b"
    config = composed(run, style=True, setup="two", steps=20, rate=0.002, seed=7, initializer="sketch")
    assert config.concept.images == str(run / "pictures")
    assert config.concept.initializer == "sketch" and "painting" in " ".join(config.concept.templates)
    assert config.concept.num_vectors == 2 and config.optim.lr == 0.002
    assert config.trainer.max_steps == 20 and config.seed == 7 and config.name == "tiny"
    assert config.callbacks.previews.at_steps[0] == 0 and config.callbacks.previews.at_steps[-1] == 20


def test_every_setup_says_what_it_does():
    assert setups().keys() == {path.stem for path in (CONFIGS / "setup").glob("*.yaml")}
    assert setups()["three"] == "Three vectors"


def test_the_templates_of_a_thing_are_those_of_the_scale(composed):
    assert composed(templates="object_27").concept.templates != composed().concept.templates


def test_a_training_is_found_by_the_names_that_the_page_knows_only(tmp_path):
    (tmp_path / "outside").mkdir()
    trainings = Trainings(tmp_path / "app", [], "toyland")
    assert trainings.runs() == {} and trainings.running() is None
    for name in ("../outside", "/", "", ".", "cat-1"):
        with pytest.raises(UserError, match="no training called"):
            trainings.state(name)


def test_nothing_is_left_of_a_training_that_cannot_start(tmp_path):
    trainings = Trainings(tmp_path, [], "toyland")
    gone = Uploads([], [tmp_path / "deleted.png"], [])
    with pytest.raises(UserError):
        trainings.start(LearningRequest(**REQUEST), gone)
    assert not list(tmp_path.glob("cat*"))


@pytest.fixture
def two_words(tmp_path):
    for name, seed in (("one", 0), ("two", 1)):
        vectors = torch.randn(1, 8, generator=torch.Generator().manual_seed(seed))
        LearnedWord("S*", vectors).save(tmp_path / "runs" / name / "learned_embeds.safetensors")
    LearnedWord("S*", torch.ones(1, 4)).save(tmp_path / "runs/other_width/learned_embeds.safetensors")
    (tmp_path / "runs/broken").mkdir()
    (tmp_path / "runs/broken/learned_embeds.safetensors").write_bytes(b"x" * 100)
    return Words([tmp_path / "runs", tmp_path / "none"], width=8)


def test_words_of_all_run_folders_that_fit_are_offered(two_words):
    labels = list(two_words.all())
    assert len(labels) == 2 and {label.split("/")[-1] for label in labels} == {"one)", "two)"}
    assert [word.placeholder for word in two_words.find(labels)] == ["S*", "S*-2"]
    for label in ("../x", "S*", labels[0] + " "):
        with pytest.raises(UserError, match="no word"):
            two_words.find([label])


def test_a_word_that_is_learned_anew_is_read_anew(two_words, tmp_path):
    (label,) = [label for label in two_words.all() if "one)" in label]
    time.sleep(0.01)
    LearnedWord("S*", torch.ones(1, 8)).save(tmp_path / "runs/one/learned_embeds.safetensors")
    assert two_words.find([label])[0].vectors.equal(torch.ones(1, 8))


@pytest.mark.parametrize("form", FORMATS)
def test_a_downloaded_file_holds_the_word(form, tmp_path):
    word = LearnedWord("<a/../b>", torch.randn(1, 1280, generator=torch.Generator().manual_seed(0)))
    path = write_for(word, form, tmp_path)
    assert path.name.startswith("a-b.")
    (read,) = load_words(path)
    assert torch.allclose(read.vectors, word.vectors)
    assert form != "the paper's code (.pt)" or read.placeholder == "*"


def test_a_port_that_is_taken_or_none_is_refused():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        for port in (other.getsockname()[1], 65536):
            with pytest.raises(UserError, match="choose another one"):
                require_free(port)


def test_without_gradio_one_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[app\]'"):
        import_gradio()
