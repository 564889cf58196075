import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from launch.concepts import CONCEPTS
from textual_inversion.captions import SLOT
from textual_inversion.concept import Concept
from toyland.captions import VOCABULARY, words

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = {path.stem: list(OmegaConf.load(path).templates) for path in ROOT.glob("configs/templates/*.yaml")}
CAT = Concept("S*", "cat", "photos", ("a photo of {}",), learning_rate=5e-3)


def test_a_config_s_list_of_templates_becomes_a_tuple():
    templates = ["a photo of {}", "a photo of {}"]
    assert replace(CAT, templates=templates).templates == tuple(templates)


@pytest.mark.parametrize("placeholder", ["*", "<cat-toy>", "two words", "🐱", "חתול", "a{}b"])
def test_any_string_may_be_a_placeholder(placeholder):
    assert replace(CAT, placeholder=placeholder).placeholder == placeholder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"placeholder": ""}, "placeholder '' is empty"),
        ({"placeholder": " "}, "placeholder ' ' is empty"),
        ({"placeholder": "S* "}, "begins or ends with a space"),
        ({"initializer": ""}, "initializer '' must be one word"),
        ({"initializer": "toy cat"}, "initializer 'toy cat' must be one word"),
        ({"images": ""}, "give the folder"),
        ({"num_vectors": 0}, "num_vectors is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"templates": ()}, "templates is empty"),
        ({"templates": "a photo of {}"}, "give a list of sentences"),
        ({"templates": ("a photo of {}", "a photo")}, "'a photo' holds {} 0 times"),
        ({"templates": ("a {} with {}",)}, "'a {} with {}' holds {} 2 times"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, message):
    with pytest.raises(ValueError) as caught:
        replace(CAT, **change)
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "published", "entries"), [
    ("object", "object/imagenet_templates_small (used for training captions)", 81),
    ("dual", "object/imagenet_dual_templates_small (used with per_image_tokens)", 27),
    ("style", "style/imagenet_templates_small (used for training captions)", 19),
])  # fmt: skip
def test_the_template_lists_are_the_official_code_s(name, published, entries):
    file, kind = published.split("/")
    official = json.loads((ROOT / "tests" / "golden" / "templates.json").read_text(encoding="utf-8"))[file][kind]
    assert TEMPLATES[name] == official["list"] and len(TEMPLATES[name]) == entries


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_every_template_has_its_slots(name):
    assert {template.count(SLOT) for template in TEMPLATES[name]} == {2 if name == "dual" else 1}


def test_the_paper_s_sentences_are_the_official_ones_with_a_full_stop():
    assert TEMPLATES["object_27"] == [f"{template}." for template in dict.fromkeys(TEMPLATES["object"][:27])]
    assert len(TEMPLATES["object_27"]) == 27


def test_toyland_s_templates_say_only_what_the_small_model_knows():
    said = {word for template in TEMPLATES["toyland"] for word in words(template.replace(SLOT, ""))}
    assert said <= VOCABULARY
    assert not said & {"dark", "bright", "close-up", "small", "large"}


@pytest.mark.parametrize("name", [name for name in CONCEPTS if name.endswith("_toy")])
@pytest.mark.parametrize("templates", ["toyland", "object"])
def test_the_concept_configs_make_concepts(tmp_path, name, templates):
    run = {"defaults": ["_self_", {"paths": "default"}, {"concept": name}], "seed": 3, "optim": {"lr": 0.005}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    overrides = [f"hydra.searchpath=[file://{ROOT}/configs]", f"templates@concept={templates}"]
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        made = instantiate(compose("run", overrides).concept, _convert_="all")
    kind = json.loads((ROOT / "assets" / "concepts" / name / "concept.json").read_text())["labels"]["class"]
    assert made == Concept("S*", kind, f"{ROOT}/assets/concepts/{name}", tuple(TEMPLATES[templates]), 0.005, seed=3)
