"""The scores of the model card: prompts and their labels, how scores are counted, and the whole command in
miniature."""

import json
from collections import Counter
from pathlib import Path

import pytest

from launch.scoring import pictures
from launch.scoring import prompts as score
from toyland.attributes import COLORS

ROOT = Path(__file__).resolve().parents[2]
FEW = ["held_out=3", "two=2", "looks=2", "pictures_each=2", "frechet=4", "pictures.val.count=8", "sampler.steps=1"]
FEW += ["faces.count=8", "doctors.count=4"]
INVERSION = [
    "inversion.concepts=[cat_toy]",
    "inversion.named=1",
    "inversion.learn=['trainer.max_steps=1']",
    "inversion.evaluate=['protocol.samples=2','protocol.prompt_samples=1','sampler.steps=1']",
]


def test_prompts_say_what_their_labels_ask_for_and_training_never_saw_it():
    from toyland.attributes import BACKGROUNDS, STYLES
    from toyland.sampling import is_held_out

    prompts = score.held_out_prompts(40, seed=0)
    assert prompts == score.held_out_prompts(80, seed=0)[:40]
    assert any("color" in prompt.labels for prompt in prompts)
    for prompt in prompts:
        labels = prompt.labels
        assert prompt.text.startswith(STYLES[labels["style"]]) and prompt.text.endswith(
            BACKGROUNDS[labels["background"]]
        )
        assert all(labels[key] in prompt.text for key in ("class", "color", "pattern") if key in labels)
        if "color" in labels:
            assert is_held_out(labels["class"], labels["color"], labels["background"])
    for prompt in score.prompts_of_two(40, seed=0):
        assert prompt.text.endswith(prompt.labels["companion"]) and prompt.labels["class"] in prompt.text


def test_obedience_counts_only_what_was_asked():
    prompts = [score.Prompt("", {"class": "cat", "pattern": "striped"}), score.Prompt("", {"class": "dog"})]
    seen = {"class": ["cat", "cat"], "pattern": ["spotted", "spotted"]}
    assert score.obedience(prompts, seen) == {"class": 0.5, "pattern": 0.0}
    assert score.faults(prompts, seen) == ["spotted", "cat"]
    alone = [score.Prompt("", {"class": "cat", "companion": "mug"})]
    assert score.faults(alone, {"class": ["cat"], "companion": [""]}) == ["no companion"]


def test_photos_count_alone():
    asked = [score.Prompt("", {"style": style, "pattern": "striped"}) for style in ("photo", "pencil", "photo")]
    seen = {"style": ["photo", "pencil", "oil"], "pattern": ["striped", "plain", "striped"]}
    assert score.obedience_of_photos(asked, seen) == {"style": 0.5, "pattern": 1.0}


def test_a_color_counts_by_its_family_and_with_a_pattern_as_either_of_two():
    assert sorted(name for family in score.FAMILIES for name in family) == sorted(COLORS)
    striped = {"pattern": "striped"}
    asked = [score.Prompt("", {"color": color, **striped}) for color in ("red", "teal", "gray")] + [
        score.Prompt("", {})
    ]
    seen = {"color": ["brown", "white", "red", "red"], "color2": ["blue", "navy", "cream", "red"]}
    assert score.family_share(asked, seen) == pytest.approx(2 / 3)
    plain = [score.Prompt("", {"color": color}) for color in ("red", "teal", "gray")]
    assert score.family_share(plain, seen) == pytest.approx(1 / 3)


def test_faces_count_in_photos_of_classes_that_have_one():
    asked = [
        score.Prompt("", {"class": kind, "style": style})
        for kind, style in (("cat", "photo"), ("car", "photo"), ("dog", "oil"), ("dog", "photo"))
    ]
    assert score.face_share(asked, {"face": ["face", "none", "none", "none"]}, ("cat", "dog")) == 0.5


def test_a_guess_keeps_no_face():
    """Of ten images, four have the commonest value, so a classifier that always says it is right in 40%."""
    truth = [dict.fromkeys(pictures.INDIVIDUAL, value) for value in "aaaabbbccd"]
    on_renders = dict.fromkeys(pictures.INDIVIDUAL, 0.8)
    guessed, half = (pictures.faces_kept(on_renders, dict.fromkeys(on_renders, x), truth) for x in (0.4, 0.6))
    assert guessed["mean"] == pytest.approx(0) and half["mean"] == half["eyes"] == pytest.approx(0.5)


def test_prompts_ask_for_every_look_equally_often():
    prompts = score.prompts_of_looks(32)
    assert {*Counter(prompt.text for prompt in prompts).values()} == {2} and len({p.text for p in prompts}) == 16
    assert all(set(prompt.labels.values()) <= set(prompt.text.split()) for prompt in prompts)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Found .* in eval mode")
@pytest.mark.filterwarnings("ignore:The .*lr_scheduler.step")
def test_one_command_gives_every_number_of_the_model_card(run_script, tmp_path):
    folders = [f"paths.cache={tmp_path}/cache", f"hydra.run.dir={tmp_path}/score"]
    code, said = run_script("score", *FEW, *INVERSION, *folders)
    assert code == 0, said
    found = json.loads((tmp_path / "score" / "scores.json").read_text())
    assert found["autoencoder_psnr"] > 25
    assert {"class", "background", "style", "photos"} <= found["prompts"].keys() and "companion" in found["two"]
    assert found["classifier_on_renders"].keys() >= found["classifier_on_renders"]["photos"].keys() > {"pattern"}
    assert found["frechet"].keys() == {"clip", "classifier"}
    assert {"share", "kept_class"} <= found["inversion"].keys() and found["own_names"]["ratio"] > 0
    assert found["toys_told_apart_by_clip"]["share"] > 0.8
    assert (tmp_path / "score" / "prompts.png").is_file() and (tmp_path / "score" / "two.png").is_file()
    assert found["faces_kept"]["mean"] > 0.9 and found["looks"].keys() == {"class", "skin", "hair", "everything"}
    assert {*found["faces_seen"]} == {*found["looks_known"]} == {"renders", "reconstructions"}
    assert 0 <= found["inversion"]["reidentified"] <= 1 and "reidentified_name" in found["own_names"]
