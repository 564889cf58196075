"""The noise of a picture: with the same model it makes the picture again, and only then."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ldm.errors import UserError
from ldm.sampling import Sampler, dpm_solver
from textual_inversion.evaluation.metrics import brightness_correlation
from textual_inversion.evaluation.subjects import Pipeline
from textual_inversion.generation import manager_of
from textual_inversion.noise_file import FORMAT, Noise

SAMPLER = Sampler(3)


@pytest.fixture
def noise(tiny_ldm):
    return Noise.of(torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0)), "a cat", SAMPLER, tiny_ldm)


def test_a_file_of_noise_holds_it_bit_for_bit_and_how_it_was_found(noise, tmp_path, tiny_ldm):
    noise.save(tmp_path / "noise")
    read = Noise.load(tmp_path / "noise")
    assert torch.equal(read.z_T, noise.z_T)
    assert (read.source, read.steps, read.spacing) == ("a cat", 3, "ddim_timesteps") and read.model == noise.model
    read.require_fit(tiny_ldm, SAMPLER, tmp_path / "noise")


def test_another_model_and_other_steps_are_refused_by_name(noise, build_ldm, tiny_ldm, tmp_path):
    with pytest.raises(UserError, match="noise was found with other weights than those of this model"):
        noise.require_fit(build_ldm(init=1), SAMPLER, tmp_path / "noise")
    with pytest.raises(UserError, match=r"in 3 steps \(ddim_timesteps\), not in 4 .*sampler.steps=3"):
        noise.require_fit(tiny_ldm, replace(SAMPLER, steps=4), tmp_path / "noise")


def change(file, tensors=None, **metadata):
    found = {"format": FORMAT, "found": '{"source": "a", "steps": 3, "spacing": "x", "model": "0"}'}
    save_file(tensors or load_file(file), file, found | metadata)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"format": "words"}, "is not the noise of a picture"),
        ({"found": "{"}, "is damaged"),
        ({"found": '{"source": "a"}'}, "is damaged"),
        ({"found": '{"source": 1, "steps": 3, "spacing": "x", "model": "0"}'}, "is damaged"),
        ({"tensors": {"z": torch.zeros(4, 8, 8)}}, "is damaged"),
        ({"tensors": {"z_T": torch.full((4, 8, 8), torch.nan)}}, "is damaged"),
        ({"tensors": {"z_T": torch.zeros(8, 8)}}, "is damaged"),
    ],
)
def test_what_is_no_noise_is_refused(noise, tmp_path, changed, what):
    noise.save(tmp_path / "noise")
    change(tmp_path / "noise", **changed)
    with pytest.raises(UserError, match=what):
        Noise.load(tmp_path / "noise")


def test_a_truncated_file_is_refused(noise, tmp_path):
    noise.save(tmp_path / "noise")
    content = (tmp_path / "noise").read_bytes()
    (tmp_path / "noise").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="damaged or truncated"):
        Noise.load(tmp_path / "noise")


def test_inversion_is_ddims_alone(tiny_ldm):
    pipeline = Pipeline(tiny_ldm, Sampler(2, dpm_solver), 1.0)
    with pytest.raises(UserError, match="inversion needs DDIM, not dpm_solver: use sampler=ddim"):
        pipeline.invert(np.zeros((1, 16, 16, 3), np.uint8), "a cat", manager_of(tiny_ldm, []))


def test_the_correlation_of_brightness_sees_structure_and_not_colour():
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert brightness_correlation(image, image.flip(0)) == pytest.approx(1.0, abs=1e-6)
    assert brightness_correlation(image, -2.0 * image + 1.0) == pytest.approx(-1.0, abs=1e-6)
    assert abs(brightness_correlation(image, image.flip(-1))) < 0.5
    assert brightness_correlation(image, torch.zeros(3, 8, 8)) == 0.0
