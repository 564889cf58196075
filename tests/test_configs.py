"""Every config composes and can be instantiated without weights; large models are built on the meta device."""

import re
from pathlib import Path

import pytest
import pytorch_lightning as L
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from launch import CONFIGS
from launch.concepts import PILOTS
from launch.settings import require_settings
from ldm import sampling
from ldm.latent_diffusion import LatentDiffusion
from textual_inversion.concept import Concept
from toyland.attributes import BACKGROUNDS
from toyland.captions import VOCABULARY, words

CAT_TOY = "experiment=cat_toy"


def names(group):
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


@pytest.fixture(autouse=True)
def repository(monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


def composed(*overrides, main="train"):
    """Return the config, resolved as `--cfg job --resolve` prints it, with no missing value, and with paths of weights
    replaced by None. The commands must accept its settings."""
    config = compose(main, [*overrides, "paths.run=/tmp/no_run"])
    require_settings(config)
    OmegaConf.resolve(config)
    return without_weights(OmegaConf.to_container(config, throw_on_missing=True))


def without_weights(node):
    if isinstance(node, dict):
        loads = node.get("_target_") == "ldm.weights.checkpoint.load_weights"
        return {key: None if loads and key == "weights" else without_weights(value) for key, value in node.items()}
    return [without_weights(value) for value in node] if isinstance(node, list) else node


def on_meta(node):
    with torch.device("meta"):
        return instantiate(node, _convert_="all")


@pytest.mark.parametrize("name", names("experiment"))
def test_every_experiment_becomes_what_train_py_fits(name):
    config = composed(f"experiment={name}")
    assert isinstance(on_meta(config["module"]), L.LightningModule)
    assert config["data"] is None or isinstance(on_meta(config["data"]), L.LightningDataModule)
    callbacks = [instantiate(callback, _convert_="all") for callback in config["callbacks"].values()]
    assert all(isinstance(callback, L.Callback) for callback in callbacks)
    trainer = instantiate(config["trainer"], callbacks=callbacks, accelerator="cpu", _convert_="all")
    assert trainer.max_steps == config["trainer"]["max_steps"] > 0


@pytest.mark.parametrize("name", names("experiment"))
def test_every_experiment_begins_with_its_command_what_to_expect_and_how_long_it_takes(name):
    package, *comments = (CONFIGS / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[:4]
    assert package == "# @package _global_"
    wanted = [
        rf"# python scripts/train\.py experiment={name}\b",
        r"# (expect|aim)\b.*: \w",
        r"# \d+ (CPU core|GPU).*\d+ ",
    ]
    for comment, pattern in zip(comments, wanted, strict=True):
        assert re.match(pattern, comment), comment
    assert re.search("minute|hour", comments[2])


@pytest.mark.parametrize("name", sorted(set(names("concept")) - PILOTS.keys()))
def test_every_concept_has_its_pictures(name):
    (concept,) = instantiate(composed(CAT_TOY, f"concept={name}")["module"]["concepts"], _convert_="all")
    assert isinstance(concept, Concept) and Path(concept.images).is_dir()
    assert Path(concept.images) == CONFIGS.parent / "assets" / "concepts" / name


@pytest.mark.parametrize("name", names("model"))
def test_the_parts_of_every_model_fit_together(name):
    node = composed(CAT_TOY, f"model@module.ldm.module={name}")["module"]["ldm"]
    ldm = on_meta(node).to("meta")  # some begin with weights
    assert isinstance(ldm, LatentDiffusion)
    unet, condition = ldm.unet, ldm.cond_stage_model
    z_t = torch.zeros(1, unet.out_channels, unet.sample_size, unet.sample_size, device="meta")
    if hasattr(condition, "tokenize"):  # its vocabulary may not be here
        c = condition.encode(condition.embed(torch.zeros(1, condition.max_length, dtype=torch.long, device="meta")))
    else:
        c = condition.to("meta")([condition.unconditional])
    assert ldm.eps(z_t, torch.zeros(1, device="meta"), c).shape == z_t.shape
    x = ldm.decode_first_stage(z_t)
    assert ldm.encode_first_stage(x).mean.shape == z_t.shape


def side(ldm):
    """Return the settings of generated images."""
    return ldm.unet.sample_size * ldm.first_stage_model.downsampling


@pytest.mark.parametrize("choice", [*(f"scale={name}" for name in names("scale")), "debug=tiny"])
def test_what_learns_a_word_and_what_generates_with_it_agree(choice):
    learns, generates = composed(CAT_TOY, choice), composed("word=run", "prompt=S*", choice, main="generate")
    for key in ("image_size", "guidance"):
        assert learns[key] == generates[key]
    assert learns["module"]["ldm"] == generates["module"]["ldm"]
    ldm = on_meta(learns["module"]["ldm"]["module"])
    assert side(ldm) == learns["image_size"] and ldm.name == learns["name"]
    assert choice == "scale=toyland" or {choice, f"scale={learns['name']}"} & set(
        learns["callbacks"]["messages"]["command"].split()
    )


def test_the_scores_config_is_complete():
    config = composed(main="score")
    assert isinstance(on_meta(config["ldm"]), LatentDiffusion)
    features = on_meta(config["evaluator"]).embed_images(torch.zeros(2, 3, 64, 64, device="meta"))
    assert len(features) == 2
    assert {"class", "color", "pattern", "companion", "background", "style"} <= on_meta(
        config["classifier"]
    ).labels.keys()


@pytest.mark.parametrize("key", ["sead=1", "trainer.max_step=1", "concept.image=x", "module.batch_sise=2", "scal=x"])
def test_an_unknown_key_is_an_error(key):
    with pytest.raises(ConfigCompositionException, match=re.escape(key.split("=")[0])):
        compose("train", [CAT_TOY, key])


@pytest.mark.parametrize("node", ["concept", "module", "trainer", "callbacks.previews"])
def test_the_constructor_is_the_schema(node):
    config = composed(CAT_TOY, "debug=tiny", f"+{node}.colour=red")
    for part in node.split("."):
        config = config[part]
    with pytest.raises(InstantiationException, match="unexpected keyword argument 'colour'"):
        instantiate(config, _convert_="all")


@pytest.fixture(scope="module")
def plain():
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return composed(CAT_TOY)


@pytest.mark.parametrize("name", names("setup"))
def test_every_setup_becomes_a_learner(plain, name):
    config = composed(CAT_TOY, f"setup={name}")
    (concept,) = instantiate(config["module"]["concepts"], _convert_="all")
    assert isinstance(concept, Concept)
    assert config["callbacks"].keys() >= plain["callbacks"].keys()
    assert name == "one" or config["module"] != plain["module"] or config["callbacks"] != plain["callbacks"]


SPACING = {"ancestral": "every_timestep", "dpm_solver": "trailing_timesteps"}
SPACING |= {"ddim_published": "published_timesteps", "ddim_quadratic": "quadratic_timesteps"}
SPACING |= dict.fromkeys(("ddim", "ddim_eta", "plms"), "ddim_timesteps")


@pytest.mark.parametrize("name", names("sampler"))
def test_every_sampler_is_what_its_name_says_and_generates(name):
    sampler = instantiate(compose("generate", [f"sampler={name}", "sampler.steps=4", "word=w", "prompt=p"]).sampler)
    solver = name if hasattr(sampling, name) else "ddim"
    assert sampler.name == (f"{solver}, eta 1.0" if name == "ddim_eta" else solver)
    assert sampler.spacing.__name__ == SPACING.get(name, sampler.spacing.__name__)
    alpha_bar, z_T = torch.linspace(0.99, 0.01, 1000), torch.randn(2, 1, 2, 2)
    z = sampler(lambda z, t: 0.1 * z, z_T, alpha_bar, lambda step: torch.zeros_like(z_T))
    assert z.shape == z_T.shape and z.isfinite().all()


def test_rates_are_the_papers_at_every_scale():
    for scale in names("scale"):
        rates = composed(CAT_TOY, f"scale={scale}")["rates"]
        assert rates["high"] == pytest.approx(4 * rates["base"]) and rates["base"] == pytest.approx(50 * rates["low"])


@pytest.mark.parametrize("name", [name for name in names("prompts") if name.startswith("toyland")])
def test_prompts_of_toyland_use_its_words_and_demand_what_the_classifier_knows(name):
    protocol = composed(f"prompts@protocol={name}", main="evaluate")["protocol"]
    labels = protocol["classifier"]["module"]["labels"]
    for prompt in protocol["prompts"]:
        assert set(words(prompt["text"].replace("{}", ""))) <= VOCABULARY, prompt["text"]
        assert prompt["shows"] and all(value in labels[label] for label, value in prompt["shows"].items())
        assert len(prompt["shows"]) == {"two": 2, "three": 3}.get(prompt["kind"], 1), prompt["text"]


def test_the_prompts_that_can_fail_ask_for_every_place():
    prompts = composed("prompts@protocol=toyland_demands", main="evaluate")["protocol"]["prompts"]
    assert {prompt["shows"].get("background") for prompt in prompts} - {None} == set(BACKGROUNDS)
