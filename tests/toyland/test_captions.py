"""Captions mention each coarse attribute about as often as stated, are short, use only known words, and never mention a
toy's individuality. A few of them contain a mistake."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ldm.modules.text import WordPiece, whole_words
from toyland.attributes import (
    BACKGROUNDS,
    BODY_MARKS,
    CLASSES,
    COLORS,
    EYE_SHAPES,
    FACE_MARKS,
    MOUTHS,
    PARTS,
    PATTERNS,
    STYLES,
    Color,
    Scene,
    Style,
    Toy,
)
from toyland.captions import MAX_WORDS, VOCABULARY, caption, describe, grade, plain_caption, vocabulary_corpus, words
from toyland.mistakes import scene_colors
from toyland.names import NAME_OF, PAINTER_OF, PAINTERS, TOYS
from toyland.sampling import sample_camera, sample_scene
from toyland.toys import sample_twin
from toyland.wording import PHOTO_PREFIXES, STYLE_PREFIXES

TEAL, CREAM = Color("teal", "", (25.0, 135.0, 130.0)), Color("cream", "", (240.0, 222.0, 176.0))
CAT = Toy("cat", TEAL, CREAM, "striped", ears=0.8, belly=0.5, head=-0.5, tail=-0.8)


@pytest.fixture(scope="module")
def pairs():
    """2000 scenes, each with a caption without mistakes."""
    scenes = [sample_scene(np.random.default_rng([5, i])) for i in range(2000)]
    return [(scene, caption(scene, np.random.default_rng([6, i]), wrong=0.0)) for i, scene in enumerate(scenes)]


@pytest.fixture(scope="module")
def training_pairs(pairs):
    """The same scenes, each with a caption as in training."""
    return [(scene, caption(scene, np.random.default_rng([7, i]))) for i, (scene, _) in enumerate(pairs)]


@pytest.fixture(scope="module")
def unnamed(pairs):
    return [(s, text) for s, text in pairs if s.toy not in NAME_OF and s.style not in PAINTER_OF]


def share(mentions):
    return float(np.mean([bool(mention) for mention in mentions]))


def a_scene(toy=CAT, **changes):
    camera = sample_camera(np.random.default_rng(0), toy.kind, "normal")
    return replace(Scene(toy, "beach", camera), **changes)


def true_captions(scene, count=400):
    return [caption(scene, np.random.default_rng(i), wrong=0.0) for i in range(count)]


def is_wrong(scene, text):
    """Return whether `text` mentions a place, a class, a colour or a pattern that is not in the scene."""
    said, kinds = set(words(text)), {scene.toy.kind}
    if scene.companion:
        kinds.add(scene.companion.toy.kind)
    known = {color.name for color in scene_colors(scene)}
    if scene.toy.kind == "doctor":
        known |= {scene.toy.skin, scene.toy.hair}
    return (
        any(phrase in text for name, phrase in BACKGROUNDS.items() if name != scene.background)
        or bool(said & set(CLASSES) - kinds)
        or bool(said & set(COLORS) - known)
        or bool(said & set(PATTERNS) - {scene.toy.pattern})
    )


def test_same_seed_same_caption():
    assert true_captions(a_scene(), 50) == true_captions(a_scene(), 50)
    assert len(set(true_captions(a_scene(), 50))) > 40


def test_every_word_is_in_the_vocabulary(pairs):
    assert {word for _, text in pairs for word in words(text)} <= VOCABULARY
    assert len(VOCABULARY) < 700
    asked = "a painting of my cat, a pencil sketch on the moon and the beach next to a mug by art a close-up photo"
    assert set(words(asked)) <= VOCABULARY


def test_no_name_is_an_ordinary_word():
    plain = {w for text in vocabulary_corpus() for w in re.findall(r"\b[a-z][a-z-]*\b", text)}
    assert not plain & {name.lower() for name in (*TOYS, *PAINTERS)}


def test_captions_are_short(pairs):
    lengths = [len(words(text)) for _, text in pairs]
    assert max(lengths) <= MAX_WORDS and np.median(lengths) < 20 and min(lengths) >= 1


def test_articles_and_spaces_are_correct(pairs):
    for _, text in pairs:
        assert not re.search(r"\ba [aeiou]", text, re.I), text
        assert not re.search(r"\ban [^aeiou]", text, re.I), text
        assert "  " not in text and text == text.strip()


def test_class_and_style_are_always_mentioned(unnamed):
    for scene, text in unnamed:
        assert scene.toy.kind in words(text), text
        style = scene.style.name
        said = {"oil": "painting", "watercolor": "watercolor", "pencil": "sketch|drawing", "comic": "comic"}.get(
            style, style
        )
        if style != "photo":
            assert re.search(said, text), text


def test_shares_of_mentions(unnamed):
    def main(scene, text):
        return f"{scene.toy.color.name} " in re.split(" with | wearing | next to ", text)[0] + " "

    near = {"abs": 0.06}
    assert share(main(s, t) for s, t in unnamed) == pytest.approx(0.75, **near)
    assert share(re.search(rf"and (\w+ )?{s.toy.color2.name}\b", t) for s, t in unnamed) == pytest.approx(0.45, **near)
    patterned = [(s, t) for s, t in unnamed if s.toy.pattern != "plain"]
    assert share(s.toy.pattern in t for s, t in patterned) == pytest.approx(0.8, **near)
    assert share("plain" in t for s, t in unnamed if s.toy.pattern == "plain") == pytest.approx(0.15, **near)
    shaded = [(s, t) for s, t in unnamed if s.toy.color.shade and main(s, t)]
    assert share(f"{s.toy.color.shade} {s.toy.color.name}" in t for s, t in shaded) == pytest.approx(0.7, abs=0.1)
    dressed = [(s, t) for s, t in unnamed if s.clothing]
    assert share(f"{s.clothing.item}" in words(t) for s, t in dressed) == pytest.approx(0.9, **near)
    accompanied = [(s, t) for s, t in unnamed if s.companion]
    assert share("next to" in t and s.companion.toy.kind in t for s, t in accompanied) == pytest.approx(0.95, **near)


@pytest.mark.parametrize("proportion", ["ears", "belly", "head", "tail"])
def test_proportions_are_mentioned(unnamed, proportion):
    mentions = []
    for scene, text in unnamed:
        grades = grade(scene.toy.kind, proportion, getattr(scene.toy, proportion))
        if grades:
            part = PARTS[scene.toy.kind][proportion]
            mentions.append(re.search(rf"\b({grades.replace('/', '|')})( \w+)? {part}\b", text))
    assert 0.2 < share(mentions) < 0.4


def test_each_grade_has_its_own_words():
    assert grade("cat", "ears", 0.1) is None and grade("mug", "tail", 1.0) is None
    assert [grade("snowman", "tail", v) for v in (-1, -0.5, 0.5, 1)] == ["tiny", "short", "long", "huge"]
    assert grade("tree", "belly", 0.5) == "thick" and grade("elephant", "tail", 0.5) == "long"
    for kind in CLASSES:
        for proportion in PARTS[kind]:
            assert len({grade(kind, proportion, v) for v in (-1, -0.5, 0, 0.5, 1)}) == 5


def test_a_full_description_mentions_everything():
    text = describe(CAT, np.random.default_rng(0))
    assert text.startswith("a teal and cream striped cat with ")
    assert all(part in text for part in ("huge ears", "a round belly", "a small head", "a tiny tail"))
    doctor = replace(CAT, kind="doctor", skin="dark", hair="gray")
    assert "huge gray hair" in describe(doctor, np.random.default_rng(0))
    assert "dark skin" in describe(doctor, np.random.default_rng(0))


def test_the_looks_of_doctors_are_mentioned():
    doctor = a_scene(replace(CAT, kind="doctor", skin="tan", hair="blond"))
    for look in ("tan skin", "blond hair"):
        assert share(look in text for text in true_captions(doctor, 1000)) == pytest.approx(0.49, abs=0.06)


def test_named_toys_are_called_by_name():
    for name, toy in list(TOYS.items())[::12]:
        texts = true_captions(a_scene(toy), 200)
        assert share(name in text for text in texts) == pytest.approx(0.85, abs=0.08)
        assert any(f"{toy.kind} {name}" in text for text in texts)
        assert any(text.startswith(f"{name} on the beach") for text in true_captions(a_scene(toy), 1000))


def test_painters_are_called_by_name():
    for painter, style in list(PAINTERS.items())[::6]:
        texts = true_captions(a_scene(style=style), 300)
        assert share(painter in text for text in texts) == pytest.approx(0.85, abs=0.08)
        assert any(f"in the style of {painter}" in text for text in texts)
        assert any(f"by {painter}" in text for text in texts)


def test_views_are_mentioned_only_when_true(pairs):
    for scene, text in pairs:
        for view in ("close-up", "dark", "bright"):
            if f"{view} photo" in text:
                assert scene.view == view
    texts = true_captions(a_scene(view="dark"))
    assert share("dark photo" in text for text in texts) == pytest.approx(0.9, abs=0.05)


def test_all_styles_have_words():
    for name in STYLES:
        style = Style() if name == "photo" else Style(name, 0.9, -0.9, 0.9)
        told = {word for text in (*STYLE_PREFIXES.get(name, PHOTO_PREFIXES),) for word in words(text)} - {
            "a",
            "an",
            "of",
        }
        assert all(told & set(words(text)) for text in true_captions(a_scene(style=style), 50))


def test_a_plain_caption_names_style_class_and_place_and_no_colour_or_pattern():
    rng = np.random.default_rng(3)
    scenes = [sample_scene(rng) for _ in range(300)]
    texts = [plain_caption(scene, rng) for scene in scenes]
    for scene, text in zip(scenes, texts, strict=True):
        assert scene.toy.kind in text.split()
        assert set(words(text)) <= set(VOCABULARY)
        assert (scene.companion is not None) == ("next to" in text)
        assert not {"striped", "spotted", "checkered", "red", "teal"} & set(words(text))
    places = [BACKGROUNDS[scene.background] in text for scene, text in zip(scenes, texts, strict=True)]
    assert 0.5 < np.mean(places) < 0.7


def test_captions_without_names_contain_none(pairs):
    names = {name.lower() for name in (*TOYS, *PAINTERS)}
    texts = [caption(scene, np.random.default_rng([6, i]), named=0.0, wrong=0.0) for i, (scene, _) in enumerate(pairs)]
    assert not names & {word for text in texts for word in words(text)}
    assert names & {word for _, text in pairs for word in words(text)}


def test_four_captions_in_ten_do_not_mention_the_place(pairs):
    mentioned = share(BACKGROUNDS[scene.background] in text for scene, text in pairs)
    assert mentioned == pytest.approx(0.6, abs=0.03)


def test_one_caption_in_twenty_is_wrong(pairs, training_pairs):
    assert not any(is_wrong(scene, text) for scene, text in pairs)
    assert share(is_wrong(scene, text) for scene, text in training_pairs) == pytest.approx(0.05, abs=0.015)
    assert all(is_wrong(s, caption(s, np.random.default_rng(i), wrong=1.0)) for i, (s, _) in enumerate(pairs[:300]))
    doctor = a_scene(toy=replace(a_scene().toy, kind="doctor", skin="brown", hair="black"))
    assert all(is_wrong(doctor, caption(doctor, np.random.default_rng(i), wrong=1.0)) for i in range(3000))


def test_no_caption_mentions_a_face_or_a_mark(training_pairs):
    hidden = {*EYE_SHAPES, *MOUTHS, *FACE_MARKS, *BODY_MARKS, "eye", "mouth", "mark", "face"}
    hidden -= {"round"}  # a belly can be round
    assert not hidden & VOCABULARY
    said = {phrase for _, text in training_pairs for phrase in re.findall(r"\b[\w-]+ eyes\b", text)}
    # Owls and fish have a proportion that is the size of their eyes.
    assert said <= {f"{size} eyes" for size in ("tiny", "small", "big", "huge")}


def test_twins_have_the_same_captions():
    rng = np.random.default_rng(0)
    for toy in [sample_scene(rng, named=0.0).toy for _ in range(40)]:
        twin = sample_twin(rng, toy)
        assert (twin.face, twin.marks) != (toy.face, toy.marks)
        one, other = (true_captions(a_scene(t), 5) for t in (toy, twin))
        assert one == other


def test_every_word_is_one_piece_and_captions_fit_into_36_pieces(training_pairs, tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(whole_words(vocabulary_corpus())), encoding="utf-8")
    tokenizer = WordPiece(file, 77)
    assert all(len(tokenizer.pieces(word)) == 1 for word in VOCABULARY if "-" not in word)
    # Two more pieces mark the beginning and the end.
    assert max(len(tokenizer.pieces(text)) for _, text in training_pairs) <= 36 - 2
