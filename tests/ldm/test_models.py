"""The named constructors, which the configs target."""

import pytest
import torch

from ldm import models
from ldm.conditioning import MaskEncoder


@pytest.mark.parametrize(("name", "side"), [("ldm_1p4b", 256), ("stable_diffusion_v1", 512), ("toyland", 128)])
def test_a_named_model_knows_its_name_and_paints_pictures_of_its_size(name, side):
    with torch.device("meta"):
        ldm = getattr(models, name)("vocabulary")
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


def test_the_fingerprint_is_of_the_weights_before_they_are_rounded(tiny_ldm, build_ldm, awaken):
    before = tiny_ldm.fingerprint
    assert tiny_ldm.freeze(torch.bfloat16).fingerprint == before == awaken(build_ldm()).fingerprint
    assert awaken(build_ldm(init=1)).fingerprint != before
