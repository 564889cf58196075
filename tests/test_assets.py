"""What ships beside the code does what the model card says, on a few pictures that no training has seen."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from ldm.autoencoder import psnr
from ldm.data import to_tensor
from textual_inversion.zero_shot import zero_shot
from toyland.dataset import RenderedScenes

ROOT = Path(__file__).resolve().parents[1]
COUNT = 48


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> RenderedScenes:
    return RenderedScenes(tmp_path_factory.mktemp("renders"), seed=77, count=COUNT, held_out=True)


@pytest.fixture(scope="module")
def config():
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return compose("score", overrides=["hydra.run.dir=unused", f"paths.assets={ROOT / 'assets'}"])


@torch.no_grad()
def test_the_evaluator_names_what_it_sees(scenes, config):
    clip, images = instantiate(config.clip, _convert_="all").eval(), to_tensor(scenes.images)
    for name, question in instantiate(config.questions, _convert_="all").items():
        labels = list(question.names)
        seen = [labels[i] for i in zero_shot(clip, images, question.words, question.forms).tolist()]
        right = sum(scenes.labels(i)[name] == label for i, label in enumerate(seen))
        assert right >= 0.85 * COUNT, f"{name}: {right} of {COUNT}"


@torch.no_grad()
def test_the_first_stage_gives_pictures_back(scenes, config):
    first_stage = config.ldm.module.first_stage
    first_stage.weights = str(ROOT / "assets" / "toyland" / "autoencoder")
    autoencoder = instantiate(first_stage, _convert_="all").eval()
    x = to_tensor(scenes.images[:12])
    assert psnr(autoencoder.decode(autoencoder.encode(x).mean), x).mean() > 24.5
