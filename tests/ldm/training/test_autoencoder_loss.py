"""The first stage's objective: what costs nothing, and what each term sees."""

import pytest
import torch
from torch import Tensor

from ldm.keyed_random import generator
from ldm.modules.autoencoder import DiagonalGaussian
from ldm.training.autoencoder_loss import AutoencoderLoss, PatchDiscriminator, PerceptualDistance, image_gradients

X = torch.rand(2, 3, 6, 6, generator=generator(0)) * 2 - 1
STANDARD = DiagonalGaussian(torch.zeros(2, 4, 3, 3), torch.zeros(2, 4, 3, 3))


def wide(b: int = 2, side: int = 3) -> DiagonalGaussian:
    return DiagonalGaussian(torch.ones(b, 4, side, side), torch.ones(b, 4, side, side))


@pytest.fixture
def loss() -> AutoencoderLoss:
    return AutoencoderLoss(kl_weight=0.1, gradient_weight=0.5)


def numbers(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in losses.items()}


def test_a_perfect_reconstruction_from_standard_latents_costs_nothing(loss):
    assert numbers(loss(X, X, STANDARD)) == {"loss": 0, "l1": 0, "edges": 0, "kl": 0}


def test_the_loss_is_the_weighted_sum_of_its_terms(loss):
    terms = numbers(loss(X, X.flip(-1), wide()))
    assert terms["loss"] == pytest.approx(terms["l1"] + 0.5 * terms["edges"] + 0.1 * terms["kl"])
    assert min(terms.values()) > 0


def test_a_wrong_brightness_has_no_wrong_edges(loss):
    terms = numbers(loss(X, X + 0.25, STANDARD))
    assert terms["l1"] == pytest.approx(0.25, abs=1e-6) and terms["edges"] == pytest.approx(0, abs=1e-6)


def test_kl_counts_per_latent_number(loss):
    """The weight means the same for every batch size and every size of picture."""
    one, other = loss(X, X, wide()), loss(X[:1], X[:1], wide(1, 5))
    assert float(one["kl"]) == pytest.approx(float(other["kl"])) == pytest.approx((1 + torch.e - 2) / 2)


def test_image_gradients_are_differences_of_neighbours():
    ramp = (torch.arange(5.0)[:, None] * 3 + torch.arange(4.0) * 2).expand(1, 1, 5, 4)
    horizontal, vertical = image_gradients(ramp)
    assert horizontal.shape == (1, 1, 5, 3) and (horizontal == 2).all()
    assert vertical.shape == (1, 1, 4, 4) and (vertical == 3).all()


@pytest.fixture
def discriminator() -> PatchDiscriminator:
    torch.manual_seed(0)
    return PatchDiscriminator(channels=8, levels=2)


def test_each_adversarial_term_trains_one_side_only(discriminator):
    x, x_hat = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8, requires_grad=True)
    discriminator.doubt(x_hat).backward()
    assert x_hat.grad is not None and x_hat.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    x_hat.grad = None
    discriminator.loss(x, x_hat).backward()
    assert x_hat.grad is None and all(parameter.grad is not None for parameter in discriminator.parameters())


def test_a_discriminator_that_learns_scores_pictures_above_reconstructions(discriminator):
    sharp = torch.rand(8, 3, 16, 16, generator=generator(1)) * 2 - 1
    soft = torch.nn.functional.avg_pool2d(sharp, 3, stride=1, padding=1)
    optimizer = torch.optim.AdamW(discriminator.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        discriminator.loss(sharp, soft).backward()
        optimizer.step()
    assert discriminator(sharp).mean() > 0.5 and discriminator(soft).mean() < -0.5
    assert discriminator.doubt(soft) > discriminator.doubt(sharp)


def test_the_perceptual_distance_sees_what_its_network_sees():
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 4, 3)
    distance = PerceptualDistance(network, lambda seen, x: [seen(x), seen(x)[..., ::2, ::2]])
    assert distance(X, X) == 0 < distance(X, X.flip(-1)) <= 4
    assert not any(p.requires_grad for p in distance.parameters()) and not distance.train().network.training
    x_hat = X.clone().requires_grad_()
    distance(X, x_hat.flip(-1)).backward()
    assert x_hat.grad.abs().sum() > 0


def test_all_terms_add_up(discriminator):
    sees = PerceptualDistance(torch.nn.Conv2d(3, 4, 3), lambda network, x: [network(x)])
    loss = AutoencoderLoss(0.1, 0.5, sees, 0.25, discriminator, 0.125)
    terms = numbers(loss(X, X.flip(-1), wide()))
    plain = terms["l1"] + 0.5 * terms["edges"] + 0.1 * terms["kl"]
    expected = plain + 0.25 * terms["perceptual"] + 0.125 * terms["adversarial"] + terms["discriminator"]
    assert terms["loss"] == pytest.approx(expected)
