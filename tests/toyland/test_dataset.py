"""Rendered data sets are the same from every process, resume after an interruption, and are replaced if the world has
changed."""

import io
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from toyland import dataset
from toyland.attributes import CLASSES, WITH_FACE, is_held_out
from toyland.captions import caption
from toyland.dataset import RenderedDoctors, RenderedFaces, RenderedScenes, RenderedToys
from toyland.errors import UserError
from toyland.fingerprint import world_fingerprint
from toyland.names import NAME_OF
from toyland.render import render
from toyland.truth import LABELS, individuality


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(dataset, "CHUNK", 3)


@pytest.fixture
def rendered(monkeypatch):
    """The start of each chunk that this process has rendered, in order."""
    starts, original = [], dataset._render_chunk

    def record(*job):
        starts.append(job[2])
        return original(*job)

    monkeypatch.setattr(dataset, "_render_chunk", record)
    return starts


def test_scenes_and_captions_are_fixed_by_the_seed(tmp_path):
    one, two = RenderedScenes(tmp_path, 4, 20), RenderedScenes(tmp_path, 4, 20)
    assert [one.scene(i) for i in range(20)] == [two.scene(i) for i in range(20)]
    assert [one.caption(i, 1) for i in range(20)] == [two.caption(i, 1) for i in range(20)]
    assert [one.caption(i, 0) for i in range(20)] != [one.caption(i, 1) for i in range(20)]
    assert one.scene(0) != RenderedScenes(tmp_path, 5, 20).scene(0)
    with pytest.raises(IndexError, match="20"):
        one.scene(20)


def test_a_share_of_the_captions_is_plain(tmp_path):
    def captions(plain: float) -> list[str]:
        scenes = RenderedScenes(tmp_path, 4, 200, plain=plain)
        return [scenes.caption(i, 1) for i in range(200)]

    rich, half, plain = captions(0.0), captions(0.5), captions(1.0)
    is_plain = [text == other for text, other in zip(half, plain, strict=True)]
    assert 0.4 < np.mean(is_plain) < 0.6 and np.mean([len(text.split()) for text in plain]) < np.mean(
        [len(text.split()) for text in rich]
    )


def test_held_out_scenes(tmp_path):
    scenes = RenderedScenes(tmp_path, 1, 10, held_out=True)
    assert all(is_held_out(s.toy.kind, s.toy.color.name, s.background) for s in map(scenes.scene, range(10)))


def test_pictures_are_those_of_the_scenes(tmp_path, small_chunks):
    scenes = RenderedScenes(tmp_path / "new", 2, 7)
    assert scenes.images.shape == (7, 128, 128, 3) and scenes.images.dtype == np.uint8
    for i in range(7):
        np.testing.assert_array_equal(scenes.images[i], render(scenes.scene(i)).image)
    assert not (tmp_path / "new" / "images.partial.npy").exists()


def test_masks_are_those_of_the_scenes(tmp_path, small_chunks):
    scenes = RenderedScenes(tmp_path, 2, 7)
    assert scenes.masks.shape == (7, 2, 128, 16) and scenes.masks.dtype == np.uint8
    for i in range(7):
        picture = render(scenes.scene(i))
        np.testing.assert_array_equal(scenes.mask(i), picture.mask)
        np.testing.assert_array_equal(scenes.face_mask(i), picture.face)


def test_faces_and_marks_are_labelled_where_they_are_visible(tmp_path):
    scenes = RenderedScenes(tmp_path, 8, 600)
    for i in range(600):
        scene, labels = scenes.scene(i), scenes.labels(i)
        assert labels.keys() == LABELS.keys()
        assert all(value == "" or value in LABELS[name] for name, value in labels.items())
        assert (labels["face"] == "face") == (scene.toy.kind in WITH_FACE) == (labels["face_mark"] != "")
        if scene.style.name == "photo":
            assert labels["eyes"] == (scene.toy.face.eyes if scene.toy.kind in WITH_FACE else "")
        assert labels["body_mark"] == scene.toy.marks.body
        if scene.style.name == "pencil":
            assert labels["color"] == labels["eye_color"] == labels["mark_color"] == ""


def test_a_name_means_the_same_face_and_marks_in_every_scene(tmp_path):
    scenes, known = RenderedScenes(tmp_path, 8, 1500), {}
    for scene in map(scenes.scene, range(1500)):
        if scene.toy in NAME_OF:
            labels = individuality(scene.toy)
            assert known.setdefault(NAME_OF[scene.toy], labels) == labels
    assert len(known) > 150


def test_captions_of_held_out_scenes_contain_no_mistakes(tmp_path):
    """The same captions as with a share of mistakes of zero, where training captions have some."""
    for held_out in (True, False):
        scenes = RenderedScenes(tmp_path, 1, 200, held_out=held_out)
        drawn = [caption(scenes.scene(i), np.random.default_rng([1, i, 1]), wrong=0.0) for i in range(200)]
        assert ([scenes.caption(i, 0) for i in range(200)] == drawn) == held_out


def test_rendered_toys_show_each_toy_in_turn(tmp_path):
    toys = RenderedToys(tmp_path / "toys", 3, 24, toys=8)
    seen = [toys.scene(i) for i in range(24)]
    assert len({scene.toy for scene in seen}) == 8
    for i, scene in enumerate(seen):
        assert scene.toy == seen[i % 8].toy and scene.toy not in NAME_OF
        assert scene.style.name == "photo" and toys.labels(i)["toy"] == str(i % 8)
    assert seen[0] != seen[8]
    assert {s.toy.kind for s in map(RenderedToys(tmp_path, 3, 16, toys=16).scene, range(16))} == set(CLASSES)
    toys.prepare(workers=2)
    np.testing.assert_array_equal(toys.images[5], render(toys.scene(5)).image)
    with pytest.raises(ValueError, match="toys=8, not 9"):
        RenderedToys(tmp_path / "toys", 3, 24, toys=9).prepare()
    for number in (0, 25):
        with pytest.raises(UserError, match=f"toys is {number}: give a number between 1 and count, which is 24"):
            RenderedToys(tmp_path, 3, 24, toys=number)


def test_two_processes_render_the_same(tmp_path, small_chunks):
    one, two = RenderedScenes(tmp_path / "one", 2, 7), RenderedScenes(tmp_path / "two", 2, 7)
    one.prepare(workers=1)
    two.prepare(workers=2)
    np.testing.assert_array_equal(one.images, two.images)


def test_an_interrupted_rendering_resumes(tmp_path, small_chunks, rendered, monkeypatch):
    whole = RenderedScenes(tmp_path / "whole", 2, 7)
    whole.prepare()
    rendered.clear()

    scenes, recording = RenderedScenes(tmp_path / "cut", 2, 7), dataset._render_chunk

    def killed(*job):
        if job[3] == 3:
            raise KeyboardInterrupt
        return recording(*job)

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "_render_chunk", killed)
        with pytest.raises(KeyboardInterrupt):
            scenes.prepare()
    scenes.prepare()
    assert rendered == [0, 3, 6]
    np.testing.assert_array_equal(scenes.images, whole.images)
    scenes.prepare()
    assert len(rendered) == 3


def test_a_changed_world_is_rendered_again(tmp_path, rendered, monkeypatch):
    scenes = RenderedScenes(tmp_path, 2, 4)
    scenes.prepare()
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "world_fingerprint", lambda: "another world")
        RenderedScenes(tmp_path, 2, 4).prepare()
        assert json.loads((tmp_path / "images.json").read_text())["world"] == "another world"
    assert rendered == [0, 0]


@pytest.mark.parametrize("other", [(3, 4, False), (2, 5, False), (2, 4, True)])
def test_other_pictures_are_not_overwritten(tmp_path, other):
    RenderedScenes(tmp_path, 2, 4).prepare()
    with pytest.raises(ValueError, match="holds pictures with"):
        RenderedScenes(tmp_path, *other).prepare()


def test_fingerprint_follows_the_source(tmp_path):
    (tmp_path / "render.py").write_text("a = 1\n")
    before = world_fingerprint(tmp_path)
    (tmp_path / "render.py").write_text('"""Renders."""\n\na = (\n    1  # one\n)\n')
    assert world_fingerprint(tmp_path) == before
    (tmp_path / "captions.py").write_text("words = 2\n")
    assert world_fingerprint(tmp_path) == before
    (tmp_path / "render.py").write_text("a = 2\n")
    assert world_fingerprint(tmp_path) != before


def test_doctors_are_of_every_look_equally_often(tmp_path):
    doctors = RenderedDoctors(tmp_path, 4, 800)
    labels = [doctors.labels(i) for i in range(800)]
    assert {(label["class"], label["style"]) for label in labels} == {("doctor", "photo")}
    looks = Counter((label["skin"], label["hair"]) for label in labels)
    assert len(looks) == 16 and max(looks.values()) < 2.5 * min(looks.values())


def test_a_quarter_of_the_toys_have_no_face_and_the_scenes_are_the_same_otherwise(tmp_path):
    faces, scenes = RenderedFaces(tmp_path, 4, 800), RenderedScenes(tmp_path, 4, 800)
    found = [(faces.scene(i).toy, scenes.scene(i).toy) for i in range(800)]
    assert all(replace(toy, faceless=False) == other for toy, other in found)
    assert 0.2 < np.mean([toy.faceless for toy, _ in found]) < 0.3


def test_a_folder_of_doctors_cannot_hold_scenes(tmp_path):
    RenderedDoctors(tmp_path, 4, 2).prepare()
    with pytest.raises(ValueError, match="of=doctors, not None"):
        RenderedScenes(tmp_path, 4, 2).prepare()
    assert RenderedDoctors(tmp_path, 4, 2).images.shape == (2, 128, 128, 3)


def npy(*shape, dtype=np.uint8):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(shape, dtype))
    return buffer.getvalue()


RECORDS = [b"", b"{", b"[]", b"7", b"null", b"\xff\xfe\x00", b"[" * 100_000, b'{"done": 5}', b'{"done": [[0]]}']
RECORDS += [b'{"done": [Infinity]}', b'{"done": ["x"]}', b'{"done": null}', b'{"don']
PICTURES = {
    "nothing": b"",
    "text": b"not an array",
    "a zip": b"PK\x03\x04 nor this",
    "its head alone": npy(4, 128, 128, 3)[:100],
    "a part": npy(4, 128, 128, 3)[:-1],
    "a broken head": npy(4, 128, 128, 3).replace(b"(4, 128", b"((((((("),
    "fewer": npy(3, 128, 128, 3),
    "other numbers": npy(4, 128, 128, 3, dtype=np.float32),
}


@pytest.mark.parametrize("content", RECORDS)
def test_a_broken_record_counts_as_not_rendered(tmp_path, rendered, content):
    first = np.array(RenderedScenes(tmp_path, 2, 4).images)
    (tmp_path / "images.json").write_bytes(content)
    np.testing.assert_array_equal(RenderedScenes(tmp_path, 2, 4).images, first)
    assert rendered == [0, 0]


@pytest.mark.parametrize("name", ["images.npy", "images.partial.npy"])
@pytest.mark.parametrize("what", PICTURES)
def test_broken_pictures_are_rendered_again(tmp_path, rendered, name, what):
    first = np.array(RenderedScenes(tmp_path, 2, 4).images)
    (tmp_path / name).write_bytes(PICTURES[what])
    np.testing.assert_array_equal(RenderedScenes(tmp_path, 2, 4).images, first)
    assert rendered == [0, 0] and not (tmp_path / "images.partial.npy").exists()


def test_a_record_that_names_too_little_or_too_much_is_not_believed(tmp_path, small_chunks, rendered):
    first = np.array(RenderedScenes(tmp_path, 2, 7).images)
    record = json.loads((tmp_path / "images.json").read_text())
    for done in ([0, 3], [0, 3, 6, 9], [1, 2]):
        rendered.clear()
        (tmp_path / "images.json").write_text(json.dumps(record | {"done": done}))
        np.testing.assert_array_equal(RenderedScenes(tmp_path, 2, 7).images, first)
        assert rendered == [0, 3, 6]
