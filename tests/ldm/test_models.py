"""The named constructors, which the configs target."""

from functools import partial

import pytest
import torch

from ldm import models
from ldm.conditioning import MaskEncoder
from ldm.modules.unet import UNet
from ldm.sampling import Sampler
from ldm.weights.checkpoint import load_weights

TEXT = {"ldm_1p4b": 256, "stable_diffusion_v1": 512, "toyland": 128}
NO_TEXT = {"cin256_v2": 256, "celebahq": 256, "lsun_churches": 256}


@pytest.mark.parametrize(("name", "side"), (TEXT | NO_TEXT).items())
def test_a_named_model_knows_its_name_and_generates_images_of_its_size(name, side):
    with torch.device("meta"):
        ldm = getattr(models, name)(*["vocabulary"] * (name in TEXT))
    assert ldm.name == name
    assert ldm.unet.sample_size * ldm.first_stage_model.downsampling == side


def test_the_shipped_model_trains_with_its_own_first_stage_and_settings():
    first_stage = models.toyland_first_stage(seed=3)
    ldm = models.toyland("vocabulary", first_stage, caption_dropout=0.5, seed=2)
    assert ldm.first_stage_model is first_stage and first_stage.seed == 3
    assert (ldm.caption_dropout, ldm.seed) == (0.5, 2)
    with pytest.raises(TypeError, match="colour"):
        models.toyland("vocabulary", colour="red")


def test_a_model_that_reads_no_text_says_so(build_ldm, build_unet):
    ldm = build_ldm(unet=build_unet(in_channels=5), text_encoder=MaskEncoder(8))
    with pytest.raises(ValueError, match="conditioned on a mask"):
        _ = ldm.text_encoder


@pytest.mark.parametrize(("name", "end"), [("cin256_v2", 0.0195), ("celebahq", 0.0195), ("lsun_churches", 0.0155)])
def test_the_models_without_text_have_a_schedule_of_their_own(monkeypatch, name, end):
    for part in ("UNet", "kl_f8", "vq_f4"):
        monkeypatch.setattr(models, part, lambda **_: torch.nn.Module())  # the schedule is not on the meta device
    betas = getattr(models, name)().betas
    torch.testing.assert_close(betas[[0, -1]], torch.tensor([0.0015, end]))


SMALL = {  # the published UNets, shrunken
    "cin256_v2": {"attention_levels": (1,), "num_heads": 1, "context_dim": 512},
    "celebahq": {"attention_levels": (1,), "head_channels": 4},
    "lsun_churches": {"attention_levels": (0,), "num_heads": 2, "scale_shift": True, "resblock_updown": True},
}


@pytest.mark.parametrize(
    ("name", "values"), [("cin256_v2", ["0", "999"]), ("celebahq", ["", ""]), ("lsun_churches", ["", ""])]
)
def test_two_images_are_sampled_without_text(monkeypatch, awaken, name, values):
    def unet(in_channels, out_channels, **_):
        return UNet(in_channels, out_channels, 8, (1, 2), 1, sample_size=8, groups=4, **SMALL[name])

    monkeypatch.setattr(models, "UNet", unet)
    small = {"channels": 8, "channel_mult": (1, 2), "num_res_blocks": 1, "groups": 4}
    monkeypatch.setattr(models, "vq_f4", partial(models.vq_f4, **small | {"codebook_size": 16}))
    monkeypatch.setattr(models, "kl_f8", partial(models.kl_f8, **small))
    torch.manual_seed(0)
    ldm = awaken(getattr(models, name)()).freeze()
    noise = partial(ldm.noise, 0, range(2))
    x = ldm.sample(ldm.cond_stage_model(values), noise(), Sampler(2), guidance=1.0)
    assert x.shape == (2, 3, 16, 16) and x.isfinite().all() and not torch.equal(x[0], x[1])
    guided = ldm.sample(ldm.cond_stage_model(values), noise(), Sampler(2), guidance=3.0)
    assert torch.allclose(guided, x, atol=1e-4) == (name != "cin256_v2")  # guidance is for conditions


def test_an_unknown_one_of_a_thousand_classes_is_named():
    with torch.device("meta"):
        encoder = models.cin256_v2().cond_stage_model
    with pytest.raises(ValueError, match=r"no class 'cat'; its classes are 0 to 999\."):
        encoder(["cat"])


def test_the_scale_factor_of_the_churches_comes_with_the_weights(build_ldm, tmp_path):
    ldm = build_ldm(scale_factor=torch.ones(()))
    weights = ldm.state_dict() | {"scale_factor": torch.tensor(0.25)}
    torch.save({"state_dict": weights}, tmp_path / "model.ckpt")
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    before = ldm.encode_first_stage(x)
    after = load_weights(ldm, tmp_path / "model.ckpt").encode_first_stage(x)
    torch.testing.assert_close(after.mean, 0.25 * before.mean)
    torch.testing.assert_close(after.std, 0.25 * before.std)


def test_the_fingerprint_is_of_the_weights_before_they_are_rounded(tiny_ldm, build_ldm, awaken):
    before = tiny_ldm.fingerprint
    assert tiny_ldm.freeze(torch.bfloat16).fingerprint == before == awaken(build_ldm()).fingerprint
    half = awaken(build_ldm()).half()
    assert half.fingerprint == half.float().fingerprint != before  # of the values, not of how they are stored
    assert awaken(build_ldm(init=1)).fingerprint != before
