"""The small layers agree with their formulas."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ldm.modules.layers import GEGLU, group_norm, timestep_embedding, zero_init

RNG = torch.Generator


def test_group_norm_standardises_each_group_of_each_sample():
    x = 5 + 3 * torch.randn(2, 8, 6, 6, generator=RNG().manual_seed(0))
    y = group_norm(8, groups=4)(x).unflatten(1, (4, 2)).flatten(2)
    torch.testing.assert_close(y.mean(-1), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(-1, correction=0), torch.ones(2, 4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("channels", [32, 128])
def test_group_norm_in_bfloat16_is_that_of_pytorch(channels):
    x = torch.randn(2, channels, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    ours = group_norm(channels, groups=8).bfloat16()
    with torch.no_grad():
        ours.weight.normal_(generator=torch.Generator().manual_seed(1))
    out = ours(x)
    (gradient,) = torch.autograd.grad(out.float().square().sum(), x)
    right = F.group_norm(x.double(), 8, ours.weight.double(), ours.bias.double(), ours.eps)
    (right_gradient,) = torch.autograd.grad(right.square().sum(), x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), right, rtol=2**-8, atol=1e-3)
    torch.testing.assert_close(gradient, right_gradient, rtol=2**-6, atol=0.05)


def test_zero_init_returns_the_module_with_nothing_in_it():
    conv = nn.Conv2d(3, 5, 3)
    assert zero_init(conv) is conv
    assert not any(p.any() for p in conv.parameters())


@pytest.mark.parametrize("dim", [8, 9, 320])
def test_timesteps_are_cosines_then_sines_from_one_radian_a_step_downwards(dim):
    t, half = torch.tensor([0, 1, 17, 999]), dim // 2
    embedding = timestep_embedding(t, dim)
    assert embedding.shape == (4, dim)
    cosines, sines, rest = embedding.split([half, half, dim % 2], dim=1)
    torch.testing.assert_close(cosines**2 + sines**2, torch.ones(4, half))
    torch.testing.assert_close(cosines[:, 0], t.float().cos())
    torch.testing.assert_close(sines[:, 0], t.float().sin())
    slowest = torch.atan2(sines[1, -1], cosines[1, -1])
    torch.testing.assert_close(slowest, torch.tensor(10_000.0 ** (1 / half - 1)), rtol=1e-4, atol=0)
    assert not rest.any()


def test_every_timestep_has_an_embedding_of_its_own():
    embedding = timestep_embedding(torch.arange(1000), 32)
    assert len(embedding.unique(dim=0)) == 1000


def test_geglu_is_value_times_gelu_of_gate():
    layer, x = GEGLU(6, 10), torch.randn(2, 3, 6, generator=RNG().manual_seed(0))
    value, gate = layer.proj(x)[..., :10], layer.proj(x)[..., 10:]
    torch.testing.assert_close(layer(x), value * F.gelu(gate))
