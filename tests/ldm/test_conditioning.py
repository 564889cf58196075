"""Classes and masks condition the UNet through the same interface as texts."""

import numpy as np
import pytest
import torch

from ldm.conditioning import ClassEncoder, MaskEncoder, concatenation, cross_attention
from ldm.latent_diffusion import LatentDiffusion
from ldm.sampling import Sampler

NAMES = ("cat", "dog", "owl")
MASK = np.zeros((16, 16), dtype=bool)
MASK[:8] = True


@pytest.fixture
def told_a_class(build_ldm, awaken) -> LatentDiffusion:
    return awaken(build_ldm(text_encoder=ClassEncoder(NAMES, 16), conditioning=cross_attention))


@pytest.fixture
def told_a_mask(build_ldm, build_unet, awaken) -> LatentDiffusion:
    unet = build_unet(in_channels=5, context_dim=None)
    return awaken(build_ldm(unet=unet, text_encoder=MaskEncoder(8), conditioning=concatenation))


def batch(key, values):
    rng = torch.Generator().manual_seed(0)
    mean = torch.randn(len(values), 4, 8, 8, generator=rng)
    return {"mean": mean, "std": torch.full_like(mean, 0.1), key: values}


def test_each_class_is_a_vector_and_nothing_is_another():
    encoder = ClassEncoder(NAMES, 16)
    c = encoder(["owl", "cat", encoder.unconditional])
    assert c.shape == (3, 1, 16)
    assert torch.equal(c[:, 0], encoder.embedding.weight[[2, 0, 3]])
    assert list(encoder.state_dict()) == ["embedding.weight"]  # the published name


def test_an_unknown_class_is_named():
    with pytest.raises(ValueError, match="no class 'horse'; its classes are cat, dog, owl"):
        ClassEncoder(NAMES, 16)(["cat", "horse"])


def test_a_mask_is_one_inside_minus_one_outside_and_nothing_is_zero():
    c = MaskEncoder(8)([MASK, ~MASK, None])
    assert c.shape == (3, 1, 8, 8)
    assert (c[0, 0, :4] == 1).all() and (c[0, 0, 4:] == -1).all()
    assert torch.equal(c[1], -c[0]) and not c[2].any()


@pytest.mark.parametrize(
    ("model", "key", "values"),
    [("told_a_class", "class", ["cat", "owl", "dog"]), ("told_a_mask", "mask", [MASK, ~MASK, MASK])],
)
def test_the_gap_is_what_the_conditions_of_other_pictures_cost(request, logged, model, key, values):
    ldm = request.getfixturevalue(model)
    seen, given = logged(ldm), []
    losses = iter(torch.tensor([[1.0, 2.0, 3.0], [4.0, 4.0, 7.0]]))  # with the right conditions, then with others
    ldm.losses = lambda z_0, c, t, eps: given.append(c) or next(losses)
    ldm.validation_step(batch(key, values), 0)
    right, other = given
    assert torch.equal(right, ldm.cond_stage_model(values)) and torch.equal(other, right.roll(-1, 0))
    assert seen == {"val/loss": 2.0, "val/text_gap": 3.0}


def loss(ldm, values):
    z_0, eps = torch.randn(2, 3, 4, 8, 8)
    return ldm.losses(z_0, ldm.cond_stage_model(values), torch.tensor([5, 500, 900]), eps).sum()


def test_training_reaches_the_classes_that_are_told_alone(told_a_class):
    loss(told_a_class, ["cat", "dog", "cat"]).backward()
    assert told_a_class.cond_stage_model.embedding.weight.grad.any(dim=1).tolist() == [True, True, False, False]


def test_training_reaches_the_channel_of_the_mask(told_a_mask):
    loss(told_a_mask, [MASK, ~MASK, MASK]).backward()
    assert told_a_mask.unet.input_blocks[0][0].weight.grad[:, 4].any()


@pytest.mark.parametrize(("model", "value"), [("told_a_class", "owl"), ("told_a_mask", MASK)])
def test_guided_pictures_follow_what_is_told(request, model, value):
    ldm = request.getfixturevalue(model).eval()
    z_T = torch.randn(1, 4, 8, 8)
    nothing = ldm.cond_stage_model([ldm.cond_stage_model.unconditional])
    pictures = [ldm.sample(c, z_T, Sampler(2), guidance=3.0) for c in (ldm.cond_stage_model([value]), nothing)]
    assert all(picture.isfinite().all() for picture in pictures) and not torch.equal(*pictures)


def test_noise_is_drawn_for_the_latents_and_not_for_the_mask(told_a_mask):
    assert told_a_mask.noise(0, range(2)).shape == (2, 4, 8, 8)
