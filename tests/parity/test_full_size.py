"""The 1.4B architecture at its full size gives the original code's numbers, for weights that anyone can draw."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from launch.benchmarks.random_models import build_random, errors_against_original

from .case import GOLDEN

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow  # 7 GB of memory, two minutes on 2 cores
def test_the_1p4b_model_agrees_with_the_original(tmp_path):
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("benchmark", overrides=["case=true_scale", "scale=paper"])
    errors = errors_against_original(
        lambda: build_random(config.module.ldm.module, tmp_path / "not read", "cpu"),
        GOLDEN / "full_size_1p4B.safetensors",
    )
    assert len(errors) == 4 and max(errors.values()) < 1e-5, errors
