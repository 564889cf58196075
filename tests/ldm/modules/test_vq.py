"""The codebook: nearest entries, a gradient that passes through them, and a first stage that trains."""

import pytest
import torch
from torch import Tensor

from ldm.modules.vq import Codebook, VQModel


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return VQModel(8, (1, 2), num_res_blocks=1, codebook_size=16, groups=4)


def test_every_place_takes_the_nearest_entry():
    codebook, z = Codebook(7, 3), draw(2, 3, 4, 5)
    torch.nn.init.normal_(codebook.embedding.weight)
    z_q, _ = codebook(z)
    distances = (z[:, None] - codebook.embedding.weight[None, :, :, None, None]).square().sum(dim=2)
    torch.testing.assert_close((z - z_q).square().sum(dim=1), distances.min(dim=1).values)


def test_entries_stand_for_themselves():
    codebook, indices = Codebook(7, 3), torch.arange(7).view(1, 1, 7)
    z_q, loss = codebook(codebook.entries(indices))
    assert torch.equal(codebook.nearest(z_q), indices) and loss == 0.0


def test_the_gradient_passes_through_the_codebook_and_the_loss_moves_both_sides():
    codebook, z = Codebook(7, 3), draw(1, 3, 2, 2).requires_grad_()
    z_q, loss = codebook(z)
    (through,) = torch.autograd.grad((z_q * draw(1, 3, 2, 2, seed=1)).sum(), z)
    assert torch.equal(through, draw(1, 3, 2, 2, seed=1))
    to_z, to_entries = torch.autograd.grad(loss, (z, codebook.embedding.weight))
    torch.testing.assert_close(to_z, 2.0 * (z - z_q).detach() / z.numel())
    assert to_entries.any()


def test_to_a_diffusion_model_it_is_a_first_stage_without_spread(model):
    x = draw(2, 3, 16, 16)
    posterior = model.encode(x)
    assert posterior.mean.shape == (2, 3, 8, 8) and not posterior.std.any()
    assert torch.equal(posterior.sample(torch.Generator().manual_seed(0)), posterior.mean)
    assert model.decode(posterior.mean).shape == x.shape


def test_a_step_lowers_the_loss_and_moves_every_part(model, logged):
    logged(model)
    x = draw(4, 3, 16, 16).clamp(-1, 1)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.05), []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model.training_step({"image": x}, 0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert all(name.endswith("attn_1.k.bias") for name in still)  # softmax does not see what all keys share
