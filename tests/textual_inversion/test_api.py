"""The Python API: the same models, words and pictures as the commands, from any directory."""

import importlib.util
import inspect
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image

from launch import CONFIGS, PROJECT
from ldm.errors import UserError
from ldm.images import to_uint8
from ldm.precision import fast_precisions
from ldm.sampling import Sampler
from ldm.weights.checkpoint import write_weights
from ldm.weights.difference import Difference
from textual_inversion import LearnedWord, generate, learn, load_model, scales
from textual_inversion.generation import generate_images, manager_of
from textual_inversion.scales import SCALES, TINY, TOYLAND
from textual_inversion.words.file import load_words

QUICK = {"initializer": "cat", "progress": False}


@pytest.fixture
def ldm():
    return load_model("tiny", device="cpu")


def composed(*overrides, main="train"):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(main, [*overrides, "paths.run=/tmp/no_run"])


def test_the_package_is_imported_in_no_time_and_knows_its_names():
    code = "import sys, textual_inversion; print('torch' in sys.modules, textual_inversion.__all__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    names = ["LearnedWord", "generate", "learn", "load_model", "read_recipe", "save_picture"]
    assert done.stdout.strip() == f"False {names}"
    with pytest.raises(ImportError, match="lern"):
        from textual_inversion import lern  # noqa: F401 # pyright: ignore


@pytest.mark.parametrize("name", ["ldm_1p4b", "stable_diffusion_v1", "toyland"])
def test_a_scales_config_has_the_scales_values(name):
    config, scale = composed("experiment=cat_toy", f"scale={name}"), SCALES[name]
    assert (config.name, config.image_size, config.guidance) == (name, scale.image_size, scale.guidance)
    assert (config.samples_a_step, config.trainer.max_steps) == (scale.batch_size, scale.steps)
    assert config.optim.lr == scale.learning_rate
    assert tuple(config.concept.templates) == inspect.signature(learn).parameters["templates"].default
    assert instantiate(config.module.frozen_dtype) is scale.dtype
    assert config.module.ldm.weights == str(scale.weights)
    assert config.module.ldm.module.vocabulary == str(scale.vocabulary)
    assert instantiate(composed(f"scale={name}", "word=w", "prompt=p", main="generate").sampler) == scale.sampler


def test_hydra_and_python_load_the_same_model():
    ldm = load_model("toyland", device="cpu", dtype=torch.float32)
    theirs = instantiate(composed("experiment=cat_toy").module.ldm, _convert_="all")
    ours = ldm.state_dict()
    assert ours.keys() == theirs.state_dict().keys()
    assert all(torch.equal(value, ours[name]) for name, value in theirs.state_dict().items())
    assert not ldm.training and not any(parameter.requires_grad for parameter in ldm.parameters())


def test_python_computes_in_the_dtype_of_the_command_on_the_cpu_as_well(monkeypatch):
    monkeypatch.setitem(SCALES, "tiny", replace(TINY, dtype=torch.bfloat16))
    assert load_model("tiny", device="cpu").unet.dtype == torch.bfloat16


def test_a_folder_of_weights_is_told_by_its_content(tmp_path):
    ldm = load_model(str(TOYLAND.weights), device="cpu", dtype=torch.bfloat16)
    assert (ldm.name, ldm.unet.dtype) == ("toyland", torch.bfloat16)
    write_weights(tmp_path / "other", {"w": torch.zeros(2)})
    with pytest.raises(ValueError, match="not belong to a known model"):
        load_model(tmp_path / "other")


def test_the_learned_word_is_that_of_train_py_to_the_bit(ldm, photos, run_script, tmp_path):
    settings = ["experiment=cat_toy", "debug=tiny", f"concept.images={photos}", f"hydra.run.dir={tmp_path / 'run'}"]
    code, said = run_script("train", *settings, "seed=0", "trainer.max_steps=5")
    assert code == 0, said
    (theirs,) = load_words(tmp_path / "run")
    ours = learn(ldm, photos, steps=5, **QUICK)
    assert torch.equal(ours.vectors, theirs.vectors)
    same = ("initializer", "learning_rate", "steps", "seed", "model", "model_fingerprint", "nearest_words")
    assert {name: ours.provenance[name] for name in same} == {name: theirs.provenance[name] for name in same}


def test_every_step_is_reported_and_the_model_stays_as_it_was(ldm, photos):
    before = {name: value.clone() for name, value in ldm.state_dict().items()}
    seen = []
    word = learn(ldm, photos, on_step=lambda *step: seen.append(step), num_vectors=2, placeholder="<cat>", **QUICK)
    assert [done for done, _, _ in seen] == list(range(1, TINY.steps + 1))
    assert all(loss.isfinite() and vectors.shape == (2, 16) for _, loss, vectors in seen)
    assert torch.equal(seen[-1][2], word.vectors) and not torch.equal(seen[0][2], seen[1][2])
    assert word.placeholder == "<cat>"
    assert all(torch.equal(value, before[name]) for name, value in ldm.state_dict().items())
    assert not any(parameter.requires_grad for parameter in ldm.parameters())


def test_pictures_are_those_of_the_library_whatever_the_batch(ldm, photos):
    word = learn(ldm, photos, **QUICK)
    prompts = ["a photo of S*", "a photo of S* on the moon", "S*"]
    quick = {"words": [word], "steps": 2, "seed": 3, "progress": False}
    x = generate(ldm, prompts, as_tensor=True, **quick)
    assert x.shape == (3, 3, 16, 16)
    again = {"sampler": Sampler(2), "guidance": TINY.guidance, "seed": 3, "progress": False}
    assert torch.equal(x, generate_images(ldm, prompts, manager_of(ldm, [word]), **again))
    images = generate(ldm, prompts, batch_size=1, **quick)
    assert all(isinstance(image, Image.Image) and image.size == (16, 16) for image in images)
    assert abs(to_uint8(x)[2].astype(int) - images[2]).max() <= 1
    assert len(generate(ldm, "a photo of a cat", steps=1, progress=False)) == 1  # without a word


def test_a_word_is_saved_and_loaded(tmp_path):
    word = LearnedWord("S*", torch.randn(2, 16), {"steps": 3})
    word.save(tmp_path / "cat.safetensors")
    back = LearnedWord.load(tmp_path / "cat.safetensors")
    assert back.placeholder == "S*" and torch.equal(back.vectors, word.vectors) and back.provenance["steps"] == 3


def test_a_file_of_two_words_is_not_one(tmp_path):
    from textual_inversion.words.file import save_words

    save_words(tmp_path / "two.safetensors", [LearnedWord(name, torch.ones(1, 4)) for name in ("S*", "T*")])
    with pytest.raises(ValueError, match=r"holds 2 words \('S\*', 'T\*'\)"):
        LearnedWord.load(tmp_path / "two.safetensors")


def test_an_unknown_model_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"'toylnd' is neither a known model .* mean 'toyland'") as raised:
        load_model("toylnd")
    assert "the models are toyland, ldm_1p4b, stable_diffusion_v1." in str(raised.value)  # tiny is for debugging
    with pytest.raises(ValueError, match="neither a known model nor a file"):
        load_model(tmp_path / "none.ckpt")


@pytest.mark.skipif(SCALES["ldm_1p4b"].weights.exists(), reason="the weights are here")
def test_a_model_that_is_not_downloaded_names_the_command():
    with pytest.raises(ValueError, match=r"no weights at .*scripts/fetch.py model=ldm_1p4b"):
        load_model("ldm_1p4b")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"initializer": "zebra9"}, "'zebra9' is no word of the model's vocabulary"),
        ({"steps": 0}, "steps is 0: give a whole number, 1 or more"),
        ({"steps": 1.5}, "steps is 1.5: give a whole number, 1 or more"),
        ({"batch_size": 0}, "batch_size is 0: give a whole number, 1 or more"),
        ({"num_vectors": 1.5}, "num_vectors is 1.5: give a whole number, 1 or more"),
        ({"first": 0}, "first is 0: give a whole number, 1 or more"),
        ({"seed": -1}, "seed is -1: give a whole number, 0 or more"),
        ({"flip": "yes"}, "flip is 'yes': give true or false"),
        ({"placeholder": 42}, "placeholder is 42: give a text"),
        ({"initializer": None}, "initializer is None: give a text"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast': give a number above 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"templates": [42]}, "a template is 42: give a text"),
        ({"templates": ["no slot"]}, "holds {} 0 times"),
    ],
)
def test_what_cannot_be_learned_is_said_in_one_sentence_as_by_the_command(ldm, photos, settings, said):
    with pytest.raises(UserError, match=said.replace("{}", r"\{\}")):
        learn(ldm, photos, **QUICK | settings)


def test_a_folder_without_pictures_is_said(ldm, tmp_path):
    with pytest.raises(ValueError, match=r"no pictures in .*it is empty"):
        learn(ldm, tmp_path, **QUICK)
    with pytest.raises(ValueError, match="there is no folder"):
        learn(ldm, tmp_path / "none", **QUICK)


def test_what_cannot_be_generated_is_said(ldm):
    word = LearnedWord("S*", torch.ones(1, 16))
    for words, prompts, said in [
        ([word], ["a photo of a cat"], "does not mention"),
        ([LearnedWord("S*", torch.ones(1, 8))], ["S*"], "8 numbers per vector, the model's words have 16"),
        ([word, word], ["S*"], "share a placeholder"),
        ([], [], "there is no prompt"),
    ]:
        with pytest.raises(UserError, match=said):
            generate(ldm, prompts, words, progress=False)
    for settings, said in [
        ({"seed": -1}, "seed is -1: give a whole number, 0 or more"),
        ({"guidance": float("nan")}, "guidance is nan: give a number"),
        ({"guidance": "strong"}, "guidance is 'strong': give a number"),
        ({"batch_size": 0}, "batch_size is 0: give a whole number, 1 or more"),
        ({"steps": 0}, "the number of sampling steps is 0: give a whole number, 1 or more"),
        ({"steps": 1001}, "1001 sampling steps: choose 1 to"),
    ]:
        with pytest.raises(UserError, match=said):
            generate(ldm, "a photo of a cat", progress=False, **settings)


def test_a_model_of_ones_own_without_a_name_has_no_defaults(tiny_ldm):
    with pytest.raises(ValueError, match="has no scale"):
        generate(tiny_ldm, "a photo of a cat")


def test_a_difference_changes_the_model_and_another_model_refuses_it(ldm, tmp_path):
    tuned = load_model("tiny", device="cpu")
    next(tuned.unet.parameters()).data += 0.01
    Difference.between(ldm, tuned, {}).save(tmp_path / "difference")
    loaded = load_model("tiny", device="cpu", difference=tmp_path / "difference")
    pictures = [generate(each, "a cat", steps=2, progress=False, as_tensor=True) for each in (ldm, tuned, loaded)]
    torch.testing.assert_close(pictures[2], pictures[1], atol=1e-4, rtol=0)
    assert not torch.allclose(pictures[0], pictures[1], atol=1e-3)
    Difference.between(tuned, ldm, {}).save(tmp_path / "other")
    with pytest.raises(UserError, match="other is the difference to another model, tiny with weights"):
        load_model("tiny", device="cpu", difference=tmp_path / "other")


@pytest.mark.parametrize(
    ("amx", "avx", "gpu", "small", "large"),
    [
        (True, False, False, torch.bfloat16, torch.bfloat16),
        (False, True, False, torch.bfloat16, torch.bfloat16),
        (False, False, False, torch.float32, torch.float32),
        (True, True, True, torch.float32, torch.bfloat16),
        (False, False, True, torch.float32, torch.bfloat16),
    ],
)
def test_no_model_computes_in_bfloat16_on_cpus_that_emulate_it(monkeypatch, amx, avx, gpu, small, large):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    spec = importlib.util.spec_from_file_location("textual_inversion.scales_elsewhere", scales.__file__)
    elsewhere = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, elsewhere)
    spec.loader.exec_module(elsewhere)  # the constants are made when it is imported
    models = (elsewhere.TOYLAND, elsewhere.LDM_1P4B, elsewhere.STABLE_DIFFUSION_V1)
    assert [model.dtype for model in models] == [small, large, large]
    assert fast_precisions() == [torch.float32, *([torch.bfloat16] if amx or avx or gpu else [])]
