"""The shipped weights perform as the model card says, on a few held-out images."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from ldm.images import psnr, to_tensor
from ldm.sampling import Sampler
from textual_inversion import load_model
from textual_inversion.evaluation.metrics import brightness_correlation
from textual_inversion.evaluation.subjects import Pipeline
from textual_inversion.evaluation.zero_shot import zero_shot
from textual_inversion.generation import generate_images, manager_of
from toyland.attributes import BACKGROUNDS
from toyland.dataset import RenderedDoctors, RenderedScenes

ROOT = Path(__file__).resolve().parents[1]
COUNT = 48


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> RenderedScenes:
    return RenderedScenes(tmp_path_factory.mktemp("renders"), seed=77, count=COUNT, held_out=True)


@pytest.fixture(scope="module")
def config():
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return compose("score", overrides=["hydra.run.dir=unused", f"paths.assets={ROOT / 'assets'}"])


@pytest.fixture(scope="module")
def questions():
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return instantiate(compose("train", ["experiment=toyland_clip"]).module.questions, _convert_="all")


@torch.no_grad()
def test_the_evaluator_names_what_it_sees(scenes, config, questions):
    clip, images = instantiate(config.evaluator, _convert_="all").eval(), to_tensor(scenes.images)
    for name, question in questions.items():
        labels = list(question.names)
        seen = [labels[i] for i in zero_shot(clip, images, question.words, question.forms).tolist()]
        right = sum(scenes.labels(i)[name] == label for i, label in enumerate(seen))
        assert right >= 0.85 * COUNT, f"{name}: {right} of {COUNT}"


@torch.no_grad()
def test_the_classifier_tells_what_pictures_show(scenes, config):
    classifier = instantiate(config.classifier, _convert_="all").eval()
    seen = classifier.names(to_tensor(scenes.images))
    for name, least in {"class": 0.95, "background": 0.98, "style": 0.9, "companion": 0.9, "pattern": 0.7}.items():
        right = sum(scenes.labels(i)[name] == label for i, label in enumerate(seen[name]))
        assert right >= least * COUNT, f"{name}: {right} of {COUNT}"


@torch.no_grad()
def test_the_look_classifier_tells_them_apart_and_has_no_favourite(tmp_path):
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        figure = compose("reproduce", ["figure=bias", f"paths.assets={ROOT / 'assets'}"]).figures.bias
    classifier = instantiate(figure.look_classifier, _convert_="all").eval()
    doctors = RenderedDoctors(tmp_path, seed=77, count=2 * COUNT, held_out=True)
    seen = classifier.names(to_tensor(doctors.images))
    for name, favourite in figure.look.items():
        truth = [doctors.labels(i)[name] for i in range(len(doctors))]
        right = sum(a == b for a, b in zip(truth, seen[name], strict=True))
        assert right >= 0.85 * len(truth), f"{name}: {right} of {len(truth)}"
        assert abs(seen[name].count(favourite) - truth.count(favourite)) <= 0.1 * len(truth)


@torch.no_grad()
def test_the_first_stage_gives_pictures_back(scenes, config):
    first_stage = config.ldm.module.first_stage
    first_stage.weights = str(ROOT / "assets" / "toyland" / "ldm")
    autoencoder = instantiate(first_stage, _convert_="all").eval()
    x = to_tensor(scenes.images[:12])
    assert psnr(autoencoder.decode(autoencoder.encode(x).mean), x).mean() > 31.0


@torch.no_grad()
def test_the_model_generates_the_class_and_the_place_that_it_is_told(config, questions):
    """Eight prompts and few steps: a model that generates blobs fails; a model with one error in eight passes."""
    ldm, clip = (instantiate(node, _convert_="all").eval() for node in (config.ldm, config.evaluator))
    told = {
        "class": ["mug", "car", "owl", "mushroom", "duck", "doctor", "elephant", "tree"],
        "background": ["beach", "city", "forest", "moon", "snow", "studio", "desert", "table"],
    }
    prompts = [f"a photo of a {kind} {BACKGROUNDS[place]}" for kind, place in zip(*told.values(), strict=True)]
    images = generate_images(ldm, prompts, seed=0, sampler=Sampler(15), guidance=4.0)
    for name, wanted in told.items():
        question = questions[name]
        labels = list(question.names)
        seen = [labels[i] for i in zero_shot(clip, images, question.words, question.forms).tolist()]
        assert sum(a == b for a, b in zip(seen, wanted, strict=True)) >= 7, f"{name}: {seen}, told {wanted}"


@pytest.mark.integration
def test_a_held_out_picture_comes_back_from_its_noise_and_keeps_its_structure_under_other_words(scenes):
    i = next(i for i in range(COUNT) if scenes.labels(i)["style"] == "photo")
    kind = scenes.labels(i)["class"]
    other = "a photo of a cat" if kind != "cat" else "a photo of a dog"
    ldm, x = load_model("toyland", device="cpu"), to_tensor(scenes.images[i : i + 1])
    pipeline, none = Pipeline(ldm, Sampler(25), guidance=2.0), manager_of(ldm, [])
    z_T = pipeline.invert(scenes.images[i : i + 1], f"a photo of a {kind}", none)
    again = replace(pipeline, guidance=1.0).from_noise([f"a photo of a {kind}"], z_T, none)
    under = pipeline.from_noise([other], z_T, none)
    alone = ldm.decode_first_stage(ldm.encode_first_stage(x).mean)
    assert psnr(again, x) >= 25.0 and psnr(again, x) > psnr(alone, x) - 1.0
    assert psnr(under, again) < 25.0  # another picture ...
    assert brightness_correlation(under[0], again[0]) > 0.5  # ... of the same structure
    fresh = generate_images(ldm, [other], sampler=Sampler(25), guidance=2.0)
    assert brightness_correlation(fresh[0], again[0]) < brightness_correlation(under[0], again[0])
