"""A UNet that starts with the weights of another model."""

from functools import partial

import pytest
import torch

from ldm.errors import UserError
from ldm.modules.unet import UNet
from ldm.weights.checkpoint import write_weights
from ldm.weights.transfer import transfer_unet

unet = partial(
    UNet,
    out_channels=4,
    model_channels=16,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_levels=(1,),
    num_heads=2,
    sample_size=8,
    groups=4,
)


@pytest.fixture
def trained(tmp_path):
    """Return a folder of weights of a UNet with random values, and the UNet."""
    torch.manual_seed(0)
    model = unet(in_channels=4, context_dim=16)
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.1)
    weights = {f"model.diffusion_model.{name}": value for name, value in model.state_dict().items()}
    write_weights(tmp_path / "weights", weights | {"other.weight": torch.ones(3)})
    return tmp_path / "weights", model


def test_the_same_unet_computes_the_same(trained):
    weights, model = trained
    copy = transfer_unet(unet(in_channels=4, context_dim=16), weights)
    x, t, c = torch.randn(2, 4, 8, 8), torch.tensor([3, 700]), torch.randn(2, 5, 16)
    torch.testing.assert_close(copy(x, t, c), model(x, t, c), rtol=0.01, atol=0.01)  # stored in half precision


def test_a_map_beside_the_latents_has_no_influence_at_first(trained, caplog):
    caplog.set_level("INFO")
    copy = transfer_unet(unet(in_channels=5), trained[0])
    x, t, maps = torch.randn(2, 4, 8, 8), torch.tensor([3, 700]), torch.randn(2, 1, 8, 8)
    with_map, without = (copy(torch.cat([x, m], dim=1), t) for m in (maps, torch.zeros_like(maps)))
    assert torch.equal(with_map, without) and with_map.std() > 0
    assert "tensors of the UNet are new" in caplog.text  # the layers for a context of another width


def test_weights_without_a_fitting_unet_are_refused(tmp_path):
    write_weights(tmp_path / "weights", {"other.weight": torch.ones(3)})
    with pytest.raises(UserError, match="no tensor that fits this UNet"):
        transfer_unet(unet(in_channels=4, context_dim=16), tmp_path / "weights")
