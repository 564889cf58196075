"""A difference file: base plus difference is the tuned model, and no other model takes it."""

import copy

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ldm.errors import UserError
from ldm.weights.difference import FORMAT, Difference
from ldm.weights.fingerprint import weights_hash

TUNED = "input_blocks.0.0.weight"


def tuned_from(ldm, size=1e-3):
    """Return a copy of the model in which two tensors of the UNet are changed."""
    tuned, rng = copy.deepcopy(ldm), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in tuned.unet.named_parameters():
            if name in (TUNED, "out.2.bias"):
                parameter += size * torch.randn(parameter.shape, generator=rng)
    return tuned


@pytest.fixture
def file(tiny_ldm, tmp_path):
    path = tmp_path / "difference.safetensors"
    Difference.between(tiny_ldm, tuned_from(tiny_ldm), {"steps": 3}).save(path)
    return path


def test_only_what_changed_is_in_the_file_in_half_precision_with_the_hash_of_its_base(tiny_ldm, file):
    content = load_file(file)
    assert content.keys() == {TUNED, "out.2.bias"} and {value.dtype for value in content.values()} == {torch.float16}
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    assert metadata["weights"] == weights_hash(tiny_ldm.unet) and metadata["model"] == tiny_ldm.name
    assert Difference.load(file).origin == {"steps": 3}


def test_base_plus_difference_is_the_tuned_model_up_to_half_precision(tiny_ldm, file):
    tuned, base = tuned_from(tiny_ldm), copy.deepcopy(tiny_ldm)
    Difference.load(file).add_to(base, file)
    for name, value in base.state_dict().items():
        before, wanted = tiny_ldm.state_dict()[name], tuned.state_dict()[name]
        rounding = 2.0**-11 * (wanted - before).abs() + 2.0**-23 * before.abs() + 2.0**-25  # of the change, of the sum
        assert ((value - wanted).abs() <= rounding).all(), name
    z_t, c = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 16, 16)
    with torch.no_grad():
        plain, wanted, found = (ldm.eps(z_t, torch.tensor([10, 500]), c) for ldm in (tiny_ldm, tuned, base))
    assert (found - wanted).abs().max() < 2.0**-10 * (plain - wanted).abs().max()


def test_a_change_far_below_the_half_precision_of_a_weight_is_kept(tiny_ldm, tmp_path):
    small, path = tuned_from(tiny_ldm, size=1e-6), tmp_path / "difference"
    Difference.between(tiny_ldm, small, {}).save(path)
    Difference.load(path).add_to(tiny_ldm, path)
    found, wanted = tiny_ldm.unet.state_dict()[TUNED], small.unet.state_dict()[TUNED]
    torch.testing.assert_close(found, wanted, atol=2.0**-24, rtol=0)


def test_another_model_refuses_the_file_by_name_and_stays_as_it_was(build_ldm, tiny_ldm, file):
    for other in (build_ldm(init=3), tuned_from(tiny_ldm)):
        before = weights_hash(other)
        with pytest.raises(UserError, match=r"\.safetensors is the difference to another model, .* with weights"):
            Difference.load(file).add_to(other, file)
        assert weights_hash(other) == before


def test_a_difference_is_not_added_twice(tiny_ldm, file):
    Difference.load(file).add_to(tiny_ldm, file)
    with pytest.raises(UserError, match="another model"):
        Difference.load(file).add_to(tiny_ldm, file)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(file, keep):
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(UserError, match=r"difference.safetensors is (damaged or )?truncated"):
        Difference.load(file)


@pytest.mark.parametrize(
    ("tensors", "metadata", "what"),
    [
        ({}, {"format": "textual_inversion"}, "holds no difference"),
        ({}, {"format_version": "2"}, "has format version 2, this code reads 1"),
        ({}, {"origin": "{"}, "is damaged"),
        ({TUNED: torch.full((2,), torch.inf).half()}, {}, "is damaged"),
        ({TUNED: torch.zeros(2)}, {}, "is damaged"),
        ({"unknown": torch.zeros(2).half()}, {}, "unknown does not fit"),
        ({TUNED: torch.zeros(2).half()}, {}, "does not fit"),
    ],
)
def test_what_is_no_whole_difference_is_refused(tiny_ldm, file, tensors, metadata, what):
    own = {"format": FORMAT, "format_version": "1", "model": "", "weights": weights_hash(tiny_ldm.unet), "origin": "{}"}
    save_file(load_file(file) | tensors, file, own | metadata)
    before = weights_hash(tiny_ldm)
    with pytest.raises(UserError, match=what):
        Difference.load(file).add_to(tiny_ldm, file)
    assert weights_hash(tiny_ldm) == before


def test_a_tuning_that_changed_nothing_or_broke_the_weights_gives_no_file(tiny_ldm):
    with pytest.raises(UserError, match="has changed nothing: raise the learning rate"):
        Difference.between(tiny_ldm, copy.deepcopy(tiny_ldm), {})
    with pytest.raises(UserError, match="not finite: lower the learning rate"):
        Difference.between(tiny_ldm, tuned_from(tiny_ldm, size=1e6), {})
