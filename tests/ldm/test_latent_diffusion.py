"""The whole model: scaled latents, keyed noise, eq. 2, and which parameters are trained."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ldm import PROJECT, latent_diffusion, models
from ldm.errors import UserError
from ldm.images import to_tensor
from ldm.keyed_random import generator
from ldm.modules.autoencoder import DiagonalGaussian
from ldm.sampling import Sampler, guided
from ldm.schedule import TABLES, min_snr_weight, q_sample, scaled_linear_betas, schedule_buffers
from ldm.weights.checkpoint import load_weights
from ldm.weights.diffusers_pipeline import scheduler_config
from textual_inversion import load_model
from textual_inversion.pictures import load_pictures

CAPTIONS = ["a red cat", "a blue dog", "an owl", "a fish"]


def latents(b: int = 4) -> dict:
    rng = generator(0)
    return {"mean": torch.randn(b, 4, 8, 8, generator=rng), "std": torch.rand(b, 4, 8, 8, generator=rng)}


def test_latents_are_scaled_and_decoded_unscaled(build_ldm):
    ldm, x = build_ldm(scale_factor=0.25), torch.rand(2, 3, 16, 16) * 2 - 1
    plain, scaled = ldm.first_stage_model.encode(x), ldm.encode_first_stage(x)
    torch.testing.assert_close(scaled.mean, 0.25 * plain.mean)
    torch.testing.assert_close(scaled.std, 0.25 * plain.std)
    torch.testing.assert_close(ldm.decode_first_stage(scaled.mean), ldm.first_stage_model.decode(plain.mean))


@pytest.mark.parametrize("most", [1, 3 * 16 * 16 * 16])
def test_images_are_encoded_and_decoded_a_few_at_a_time(build_ldm, monkeypatch, most):
    ldm, x = build_ldm(), torch.rand(5, 3, 16, 16) * 2 - 1
    posterior = ldm.encode_first_stage(x)
    images, sizes = ldm.decode_first_stage(posterior.mean), []
    monkeypatch.setattr(latent_diffusion, "MOST_VALUES", most)
    for part in (ldm.first_stage_model.encoder, ldm.first_stage_model.decoder):
        part.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    sliced = ldm.encode_first_stage(x)
    torch.testing.assert_close((sliced.mean, sliced.std), (posterior.mean, posterior.std))
    torch.testing.assert_close(ldm.decode_first_stage(sliced.mean), images)
    assert sizes == ([1] * 10 if most == 1 else [3, 2] * 2)


def test_the_published_models_decode_one_image_at_a_time_and_toyland_a_batch():
    with torch.device("meta"):
        large, small = models.kl_f8(), models.toyland_first_stage()
    assert large.width * 256**2 == latent_diffusion.MOST_VALUES == 16 * small.width * 128**2


def test_the_noise_of_a_picture_depends_on_seed_and_index_only(tiny_ldm):
    three = tiny_ldm.noise(5, range(3))
    assert three.shape == (3, 4, 8, 8)
    assert torch.equal(tiny_ldm.noise(5, [2]), three[2:])
    assert not torch.equal(three[0], three[1])
    assert not torch.equal(tiny_ldm.noise(6, range(3)), three)


def test_a_picture_is_the_same_alone_and_in_a_batch(tiny_ldm):
    with torch.no_grad():
        c = tiny_ldm.cond_stage_model(CAPTIONS)
    together = tiny_ldm.sample(c, tiny_ldm.noise(0, range(4)), Sampler(3), guidance=2.0)
    alone = tiny_ldm.sample(c[2:3], tiny_ldm.noise(0, [2]), Sampler(3), guidance=2.0)
    assert together.shape == (4, 3, 16, 16) and not together.requires_grad
    torch.testing.assert_close(alone, together[2:3])


@pytest.mark.parametrize("per_layer", [False, True])
def test_a_text_is_projected_once_for_all_steps(tiny_ldm, per_layer):
    ldm, projected = tiny_ldm.freeze(), []
    c, uncond = ldm.cond_stage_model(CAPTIONS), ldm.cond_stage_model([""])
    if per_layer:
        c = torch.stack([c.roll(i, 0) for i in range(ldm.unet.cross_attention_layers)], dim=1)
        uncond = uncond[:, None].expand(1, *c.shape[1:])
    z_T, sampler = ldm.noise(0, range(4)), Sampler(3)
    expected = sampler(guided(ldm.eps, c, uncond, 2.0), z_T, ldm.alpha_bar)
    for name, module in ldm.unet.named_modules():
        if name.endswith("attn2.to_k"):
            module.register_forward_hook(lambda *_: projected.append(True))
    found = sampler(guided(ldm.denoiser(), c, uncond, 2.0), z_T, ldm.alpha_bar)
    assert torch.equal(found, expected) and len(projected) == ldm.unet.cross_attention_layers


def test_the_loss_is_the_squared_error_of_the_noise(tiny_ldm):
    z_0, eps = torch.randn(2, 4, 4, 8, 8, generator=generator(1))
    t, c = torch.tensor([0, 10, 500, 999]), tiny_ldm.cond_stage_model(CAPTIONS)
    predicted = tiny_ldm.unet(q_sample(z_0, eps, tiny_ldm.alpha_bar[t]), t, c)
    torch.testing.assert_close(tiny_ldm.losses(z_0, c, t, eps), ((predicted - eps) ** 2).mean(dim=(1, 2, 3)))


def test_all_but_the_first_stage_and_the_unused_logits_learn(tiny_ldm, logged):
    logged(tiny_ldm)
    tiny_ldm.training_step(latents() | {"caption": CAPTIONS}, 0).backward()
    untouched = {name for name, p in tiny_ldm.named_parameters() if p.grad is None}
    expected = {name for name, _ in tiny_ldm.named_parameters() if name.startswith("first_stage_model.")}
    assert untouched == expected | {f"cond_stage_model.transformer.to_logits.{n}" for n in ("weight", "bias")}
    assert untouched == {name for name, p in tiny_ldm.named_parameters() if not p.requires_grad}  # as DDP demands
    optimized = tiny_ldm.configure_optimizers()["optimizer"].param_groups[0]["params"]
    trainable = [p for p in tiny_ldm.parameters() if p.requires_grad]
    assert {id(p) for p in optimized} == {id(p) for p in trainable}


def test_captions_are_dropped_in_their_share(build_ldm, logged):
    ldm, read = build_ldm(caption_dropout=0.25), []
    logged(ldm)
    original = ldm.cond_stage_model.tokenize
    ldm.cond_stage_model.tokenize = lambda texts: read.extend(texts) or original(texts)
    ldm.losses = lambda z_0, c, t, eps, weight: c.mean(dim=(1, 2))
    for ldm.seed in range(60):
        ldm.training_step(latents() | {"caption": CAPTIONS}, 0)
    assert read.count("") / len(read) == pytest.approx(0.25, abs=0.08)
    assert {text for text in read if text} == set(CAPTIONS)


def test_easy_timesteps_weigh_less_with_min_snr(tiny_ldm, logged):
    values, batch = logged(tiny_ldm), latents(1) | {"caption": CAPTIONS[:1]}
    plain = tiny_ldm.training_step(batch, 0)
    seen = []
    original = tiny_ldm.losses
    tiny_ldm.losses = lambda z_0, c, t, eps, weight: seen.append(t) or original(z_0, c, t, eps)
    tiny_ldm.min_snr_gamma = 1e-3
    weighted = tiny_ldm.training_step(batch, 0)
    weight = min_snr_weight(tiny_ldm.alpha_bar[seen[0]], 1e-3)
    torch.testing.assert_close(weighted, (weight * plain).squeeze())
    assert values["train/loss"] == pytest.approx(plain.item())


def test_validation_draws_the_same_every_time_and_says_what_the_text_is_worth(tiny_ldm, logged):
    values, batch = logged(tiny_ldm), latents() | {"caption": CAPTIONS}
    with torch.no_grad():
        tiny_ldm.validation_step(batch, 0)
        first = dict(values)
        tiny_ldm.validation_step(batch, 0)
        assert values == first and first["val/text_gap"] != 0
        tiny_ldm.validation_step(batch | {"caption": ["a cat"] * 4}, 0)
    assert values["val/text_gap"] == 0


def test_z_0_is_drawn_from_the_posterior(build_ldm, logged):
    ldm, drawn = build_ldm(scale_factor=0.5), []
    logged(ldm)
    ldm.losses = lambda z_0, c, t, eps, weight: drawn.append(z_0) or c.mean(dim=(1, 2))
    batch = latents()
    for ldm.seed in range(60):
        ldm.training_step(batch | {"caption": CAPTIONS}, 0)
    z = torch.stack(drawn)
    q = DiagonalGaussian(0.5 * batch["mean"], 2 * (0.5 * batch["std"]).log())
    standard = (z - q.mean) / q.std
    assert abs(standard.mean()) < 0.02 and abs(standard.std() - 1) < 0.02


@pytest.mark.parametrize("tables", ["exact", "half", "none"])
def test_the_noise_schedule_is_computed_and_never_read(build_ldm, tmp_path, tables):
    """Half precision would move a table by up to 4.9e-4, and pictures with it."""
    weights = build_ldm(init=1).state_dict()
    exact = schedule_buffers(scaled_linear_betas(1000, 0.00085, 0.012))
    assert TABLES == set(exact) <= set(weights)
    for name in TABLES:
        weights[name] = weights[name].half() if tables == "half" else weights[name]
        if tables == "none":
            del weights[name]
    save_file(weights, tmp_path / "file.safetensors")
    loaded = load_weights(build_ldm(), tmp_path / "file.safetensors")
    for name, table in exact.items():
        assert torch.equal(loaded.get_buffer(name), table)
    assert scheduler_config(loaded)["beta_start"] == 0.00085 and scheduler_config(loaded)["beta_end"] == 0.012


def test_weights_of_another_noise_schedule_are_refused(build_ldm, tmp_path):
    save_file(build_ldm(linear_start=0.0015, linear_end=0.0195).state_dict(), tmp_path / "file.safetensors")
    with pytest.raises(UserError, match=r"its betas go from 0\.0015 to 0\.0195, those of this model from 0\.00085 to"):
        load_weights(build_ldm(), tmp_path / "file.safetensors")


def test_the_shipped_model_has_its_own_schedule():
    exact = schedule_buffers(scaled_linear_betas(1000, 0.0015, 0.0195))
    assert torch.equal(load_model("toyland", device="cpu").alpha_bar, exact["alphas_cumprod"])


def test_no_image_is_asked_to_be_gray_by_noise_alone():
    """At the last timestep, the mean of the latents must tell less of an image's brightness than of the noise."""
    model = load_model("toyland", device="cpu")
    photos = [
        load_pictures(PROJECT / "assets" / "concepts" / f"{toy}_toy", 128).images for toy in ("cat", "duck", "robot")
    ]
    z_0 = model.encode_first_stage(to_tensor(np.concatenate(photos))).mean
    told = model.alpha_bar[-1].sqrt() * z_0.mean(dim=(2, 3)).std(dim=0)
    assert told.max() < 0.5 / z_0.shape[-1]
