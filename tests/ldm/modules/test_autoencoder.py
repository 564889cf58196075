"""The first stage: shapes, the Gaussian posterior, and independence of the images in a batch."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from ldm.keyed_random import generator
from ldm.modules.autoencoder import DiagonalGaussian


def images(b: int = 2, height: int = 16, width: int = 16) -> Tensor:
    return torch.rand(b, 3, height, width, generator=generator(0)) * 2 - 1


def posterior(seed: int = 0) -> DiagonalGaussian:
    return DiagonalGaussian.from_moments(torch.randn(3, 8, 4, 4, generator=generator(seed)))


@pytest.mark.parametrize("mult", [(1,), (1, 2), (1, 2, 2)])
def test_latents_are_smaller_by_two_per_level_and_pictures_come_back(build_autoencoder, mult):
    model, f = build_autoencoder(channel_mult=mult, attention_levels=(0,)), 2 ** (len(mult) - 1)
    assert model.downsampling == f
    for height, width in ((16, 16), (16, 8)):
        x = images(3, height, width)
        z = model.encode(x).mean
        assert z.shape == (3, 4, height // f, width // f)
        assert model.decode(z).shape == x.shape
        assert model.encode(model.decode(z)).logvar.shape == z.shape


@pytest.mark.parametrize("size", [(16, 15), (17, 16), (1, 2)])
def test_a_side_that_does_not_fit_is_named(build_autoencoder, size):
    with pytest.raises(ValueError, match=rf"\({size[0]}, {size[1]}\) pixels.*multiples of 2"):
        build_autoencoder().encode(images(1, *size))


def test_pictures_of_a_batch_do_not_mix(build_autoencoder):
    model, x = build_autoencoder(), images(3)
    torch.testing.assert_close(model.encode(x).mean[1:2], model.encode(x[1:2]).mean)
    z = model.encode(x).mean
    torch.testing.assert_close(model.decode(z)[2:], model.decode(z[2:]))


def test_kl_is_zero_for_the_standard_normal_only():
    zeros = torch.zeros(2, 4, 3, 3)
    assert DiagonalGaussian(zeros, zeros).kl().tolist() == [0, 0]
    assert (DiagonalGaussian(zeros + 0.1, zeros).kl() > 0).all()
    assert (DiagonalGaussian(zeros, zeros - 0.1).kl() > 0).all()


def test_kl_is_that_of_independent_normals():
    q = posterior()
    expected = kl_divergence(Normal(q.mean, q.std), Normal(0.0, 1.0)).sum(dim=(1, 2, 3))
    torch.testing.assert_close(q.kl(), expected)


def test_moments_of_any_size_give_a_finite_posterior_in_float32():
    q = DiagonalGaussian.from_moments(torch.full((1, 2, 1, 1), 1e4, dtype=torch.float16))
    assert q.logvar.dtype == torch.float32 and q.std.isfinite().all() and q.kl().isfinite().all()
    assert DiagonalGaussian.from_moments(torch.full((1, 2, 1, 1), -1e4)).std.item() > 0


def test_a_sample_is_keyed_by_its_generator():
    q = posterior()
    assert torch.equal(q.sample(generator(3)), q.sample(generator(3)))
    assert not torch.equal(q.sample(generator(3)), q.sample(generator(4)))


def test_samples_have_the_moments_of_the_posterior():
    q = DiagonalGaussian(torch.full((4000, 1, 1, 1), 2.0), torch.full((4000, 1, 1, 1), 0.25).log())
    z = q.sample(generator(0))
    assert abs(z.mean() - 2.0) < 0.05 and abs(z.std() - 0.5) < 0.05
    sure = DiagonalGaussian(q.mean, torch.full_like(q.mean, -30.0))
    torch.testing.assert_close(sure.sample(generator(0)), q.mean, atol=1e-5, rtol=0)


def test_validation_measures_psnr_in_decibels(build_autoencoder, logged):
    model, x = build_autoencoder(), 0.5 * images()
    model.decode, values = lambda z: x + 0.2, logged(model)
    with torch.no_grad():
        model.validation_step({"image": x}, 0)
    assert values["val/psnr"] == pytest.approx(20.0, abs=1e-3)  # 10 log10(2^2 / 0.2^2)


def test_the_gradient_reaches_every_parameter(build_autoencoder):
    model, x = build_autoencoder(), images()
    q = model.encode(x)
    (model.decode(q.sample(generator(0))) - x).abs().mean().add(q.kl().mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
