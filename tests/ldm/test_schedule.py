"""The forward process: its tables agree with each other and with q, as derived by Ho et al. (2020)."""

import numpy as np
import pytest
import torch

from ldm.schedule import min_snr_weight, q_sample, scaled_linear_betas, schedule_buffers

STEPS, START, END = 1000, 0.00085, 0.012


@pytest.fixture
def tables():
    return {n: table.double() for n, table in schedule_buffers(scaled_linear_betas(STEPS, START, END)).items()}


def test_betas_are_linear_in_their_root():
    betas = scaled_linear_betas(STEPS, START, END)
    np.testing.assert_allclose(betas[[0, -1]], [START, END])
    np.testing.assert_allclose(np.diff(np.sqrt(betas)), (END**0.5 - START**0.5) / (STEPS - 1))


def test_tables_are_float32_and_one_number_a_step():
    for table in schedule_buffers(scaled_linear_betas(7, START, END)).values():
        assert table.shape == (7,) and table.dtype == torch.float32 and table.isfinite().all()


def test_alpha_bar_is_the_product_of_one_minus_beta(tables):
    torch.testing.assert_close(tables["alphas_cumprod"], (1 - tables["betas"]).cumprod(0), rtol=1e-4, atol=0)
    assert tables["alphas_cumprod_prev"][0] == 1
    torch.testing.assert_close(tables["alphas_cumprod_prev"][1:], tables["alphas_cumprod"][:-1])


def test_derived_tables_are_what_their_names_say(tables):
    alpha_bar = tables["alphas_cumprod"]
    expected = {
        "sqrt_alphas_cumprod": alpha_bar.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - alpha_bar).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - alpha_bar).log(),
        "sqrt_recip_alphas_cumprod": (1 / alpha_bar).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / alpha_bar - 1).sqrt(),
    }
    for name, table in expected.items():
        torch.testing.assert_close(tables[name], table, rtol=1e-4, atol=1e-6)
    later = slice(1, None)  # at t = 0 the variance is zero and its logarithm is clipped
    log_variance = tables["posterior_log_variance_clipped"][later]
    torch.testing.assert_close(log_variance.exp(), tables["posterior_variance"][later], rtol=1e-4, atol=0)


def test_the_posterior_over_all_z_t_is_q_of_one_step_less(tables):
    """Drawing z_t ~ q(z_t | z_0), then z_{t-1} ~ q(z_{t-1} | z_t, z_0), gives z_{t-1} ~ q(z_{t-1} | z_0)."""
    alpha_bar, alpha_bar_prev = tables["alphas_cumprod"], tables["alphas_cumprod_prev"]
    coef1, coef2 = tables["posterior_mean_coef1"], tables["posterior_mean_coef2"]
    torch.testing.assert_close(coef1 + coef2 * alpha_bar.sqrt(), alpha_bar_prev.sqrt(), rtol=0, atol=1e-6)
    variance = coef2**2 * (1 - alpha_bar) + tables["posterior_variance"]
    torch.testing.assert_close(variance, 1 - alpha_bar_prev, rtol=0, atol=1e-6)


def test_q_sample_keeps_the_variance_and_can_be_undone(tables):
    rng = torch.Generator().manual_seed(0)
    z_0, eps = torch.randn(2, 5, 3, 4, 4, generator=rng, dtype=torch.float64)
    t = torch.tensor([0, 10, 300, 700, 999])
    a = tables["alphas_cumprod"][t]
    z_t = q_sample(z_0, eps, a)
    root, rest = tables["sqrt_recip_alphas_cumprod"][t], tables["sqrt_recipm1_alphas_cumprod"][t]
    torch.testing.assert_close(
        root[:, None, None, None] * z_t - rest[:, None, None, None] * eps, z_0, rtol=0, atol=1e-4
    )
    ones = torch.ones_like(z_0)
    weights = q_sample(ones, 0 * ones, a) ** 2 + q_sample(0 * ones, ones, a) ** 2
    torch.testing.assert_close(weights, ones)


def test_q_sample_treats_each_sample_by_its_own_t():
    rng = torch.Generator().manual_seed(0)
    z_0, eps = torch.randn(2, 3, 4, 2, 2, generator=rng)
    a = torch.tensor([1.0, 0.5, 0.0])
    z_t = q_sample(z_0, eps, a)
    torch.testing.assert_close(z_t[0], z_0[0])
    torch.testing.assert_close(z_t[2], eps[2])
    torch.testing.assert_close(z_t[1:2], q_sample(z_0[1:2], eps[1:2], a[1:2]))


def test_min_snr_clamps_the_weight_of_easy_steps():
    snr, gamma = torch.tensor([0.01, 1.0, 5.0, 10.0, 1000.0]), 5.0
    weight = min_snr_weight(snr / (1 + snr), gamma)
    torch.testing.assert_close(weight[:3], torch.ones(3))
    torch.testing.assert_close(weight * snr, snr.clamp(max=gamma), rtol=1e-3, atol=0)
