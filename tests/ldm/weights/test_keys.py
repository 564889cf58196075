"""Parameter names and shapes are those of the published checkpoints, which load strictly without a mapping."""

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

ROOT = Path(__file__).resolve().parents[3]


def published(name: str) -> dict:
    return json.loads((ROOT / "tests" / "golden" / "keys" / f"{name}.json").read_text())


def build(override: str, folder: Path) -> torch.nn.Module:
    """Instantiate a choice of a config group on the meta device, without the files of the tokenizers."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose(overrides=["+paths=default", f"+{override}", f"paths.run={folder}", f"paths.models={folder}"])
    with torch.device("meta"):
        return instantiate(config[override.split("=")[0]], _convert_="all")


@pytest.fixture(scope="module", params=["ldm_txt2img_1p4B", "sd_v1"])
def pair(request, tmp_path_factory) -> tuple[dict, torch.nn.Module]:
    """Return a table of published names and shapes, and our model."""
    choice = {"ldm_txt2img_1p4B": "ldm_1p4b", "sd_v1": "stable_diffusion_v1"}[request.param]
    return published(request.param), build(f"model={choice}", tmp_path_factory.mktemp("no_vocabulary_here"))


def shapes(module: torch.nn.Module) -> dict:
    return {
        name: [list(value.shape), str(value.dtype).removeprefix("torch.")]
        for name, value in module.state_dict().items()
    }


def without_placeholders(table: dict) -> dict:
    """The official code stores learned words in the checkpoint of the model; this project does not."""
    return {name: value for name, value in table.items() if not name.startswith("embedding_manager.")}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_name_shape_and_type_is_the_published_one(pair):
    table, model = pair
    assert len(table["keys"]) == table["num_keys_of_whole_state_dict"]
    assert shapes(model) == without_placeholders(table["keys"])


def test_the_buffers_are_the_published_ones(pair):
    table, model = pair
    names = [name for name, _ in model.named_buffers()]
    assert sorted(names) == sorted(table["persistent_buffers"])
    assert set(names) <= model.state_dict().keys()


def test_each_part_has_the_published_number_of_parameters(pair):
    table, model = pair
    counts, first_stage = table["parameter_counts"], model.first_stage_model
    assert count(model.unet) == counts["unet (model.diffusion_model.)"]
    assert count(first_stage) == counts["first_stage (first_stage_model.)"]
    assert count(first_stage.encoder) == counts["first_stage encoder"]
    assert count(first_stage.decoder) == counts["first_stage decoder"]
    assert count(model.cond_stage_model) == counts["cond_stage (cond_stage_model.)"]
    assert count(model) == counts["all_parameters"] - counts.get("embedding_manager", 0)


def test_all_but_the_first_stage_and_the_unused_logits_trains(pair):
    _, model = pair
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    unused = {name for name, _ in model.named_parameters() if ".to_logits." in name}
    assert frozen == unused | {name for name, _ in model.named_parameters() if name.startswith("first_stage_model.")}


def under(prefix: str, keys: dict) -> dict:
    return {f"{prefix}.{name}": value for name, value in keys.items()}


@pytest.mark.parametrize(
    ("choice", "unet", "first_stage", "others", "parameters"),
    [
        (
            "cin256_v2",
            "cin256-v2",
            "vq-f4",
            {"cond_stage_model.embedding.weight": [[1001, 512], "float32"]},
            400_920_579,
        ),
        ("celebahq", "celebahq", "vq-f4", {}, 274_056_163),
        ("lsun_churches", "lsun_churches", "kl-f8", {"scale_factor": [[], "float32"]}, 294_966_916),
    ],
)
def test_the_models_without_text_are_the_published_ones(tmp_path, choice, unet, first_stage, others, parameters):
    """The UNet, the first stage, the buffers of the schedule, and `others`."""
    table, schedule = published(f"{unet}_unet"), published("ldm_txt2img_1p4B")
    buffers = {name: schedule["keys"][name] for name in schedule["persistent_buffers"]}
    model = build(f"model={choice}", tmp_path)
    assert len(table["keys"]) == table["num_keys"]
    assert count(model.unet) == parameters == table["parameter_counts"]["unet (model.diffusion_model.)"]
    of_first_stage = under("first_stage_model", published(f"first_stage_{first_stage}")["keys"])
    assert shapes(model) == table["keys"] | of_first_stage | buffers | others


@pytest.mark.parametrize(("choice", "name"), [("kl_f8", "first_stage_kl-f8"), ("vq_f4", "first_stage_vq-f4")])
def test_the_first_stages_are_the_published_ones(tmp_path, choice, name):
    assert shapes(build(f"first_stage={choice}", tmp_path)) == published(name)["keys"]
