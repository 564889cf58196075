"""The UNet: zero output before training, and the inputs that its output must depend on afterwards."""

import pytest
import torch
from torch import Tensor

from ldm.keyed_random import generator
from ldm.modules.layers import nonzero_init

T = torch.tensor([0, 500, 999])


def inputs(b: int = 3, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor]:
    rng = generator(0)
    return torch.randn(b, 4, height, width, generator=rng), torch.randn(b, 5, 16, generator=rng)


def test_before_training_the_prediction_is_zero(build_unet):
    z_t, c = inputs()
    assert not build_unet()(z_t, T, c).any()


@pytest.mark.parametrize("mult", [(1,), (1, 2), (1, 2, 2)])
@pytest.mark.parametrize("size", [(8, 8), (16, 16), (8, 12)])
def test_the_prediction_has_the_shape_of_the_latents(build_unet, awaken, mult, size):
    unet = awaken(build_unet(channel_mult=mult, num_res_blocks=2, attention_levels=(0, len(mult) - 1), out_channels=3))
    z_t, c = inputs(3, *size)
    assert unet(z_t, T, c).shape == (3, 3, *size)


def test_text_and_time_matter(build_unet, awaken):
    unet, (z_t, c) = awaken(build_unet()), inputs()
    eps = unet(z_t, T, c)
    for other in (unet(z_t, T, c.roll(1, 0)), unet(z_t, T.roll(1), c), unet(z_t.flip(-1), T, c)):
        assert ((other - eps).abs().amax(dim=(1, 2, 3)) > 1e-3 * eps.abs().max()).all()


def test_samples_of_an_odd_batch_do_not_mix(build_unet, awaken):
    unet, (z_t, c) = awaken(build_unet()), inputs()
    eps = unet(z_t, T, c)
    for i in range(3):
        one = slice(i, i + 1)
        torch.testing.assert_close(unet(z_t[one], T[one], c[one]), eps[one])


def test_the_gradient_reaches_the_text_and_every_parameter(build_unet, awaken):
    unet, (z_t, c) = awaken(build_unet()), inputs()
    c.requires_grad_()
    unet(z_t, T, c).square().sum().backward()
    assert (c.grad.abs().sum(dim=(1, 2)) > 0).all()
    assert all(p.grad is not None and p.grad.any() for p in unet.parameters())


def kept_bytes(unet, z_t: Tensor, c: Tensor) -> tuple[int, list[Tensor]]:
    """Return the bytes that the forward pass keeps for the backward pass, and all gradients."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    inputs = [c, *unet.parameters()]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = unet(z_t, T, c).square().sum()
    weights = {parameter.untyped_storage().data_ptr() for parameter in inputs}
    return sum(n for place, n in kept.items() if place not in weights), list(torch.autograd.grad(loss, inputs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_checkpointing_keeps_a_part_and_changes_no_bit(build_unet, awaken, dtype):
    unet = awaken(build_unet(num_res_blocks=2, attention_levels=(0, 1))).to(dtype)
    z_t, c = (value.to(dtype) for value in inputs(3, 16, 16))
    c.requires_grad_()
    plain, gradients = kept_bytes(unet, z_t, c)
    unet.checkpointing = True
    less, again = kept_bytes(unet, z_t, c)
    assert less < plain / 3
    assert all(torch.equal(one, other) for one, other in zip(gradients, again, strict=True))


def test_every_cross_attention_layer_reads_its_own_text_in_the_order_of_computation(build_unet):
    unet = nonzero_init(build_unet(channel_mult=(1, 2, 2), attention_levels=(0, 2), num_res_blocks=2)).eval()
    layers = unet.cross_attention_layers
    assert layers == 4 + 1 + 6
    c = torch.randn(2, layers, 5, 16)
    read = []
    for name, module in unet.named_modules():
        if name.endswith("attn2"):
            module.register_forward_hook(lambda layer, inputs, output: read.append(inputs[1]))
    z_t, t = torch.randn(2, 4, 8, 8), torch.tensor([3, 900])
    unet(z_t, t, c)
    assert all(torch.equal(own, c[:, layer]) for layer, own in enumerate(read)) and len(read) == layers
    same = c[:, :1].expand_as(c)
    torch.testing.assert_close(unet(z_t, t, same), unet(z_t, t, same[:, 0]))
    with pytest.raises(ValueError, match=f"c has texts for 3 layers, but {layers} layers of the UNet read one"):
        unet(z_t, t, c[:, :3])
