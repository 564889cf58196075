"""Attention: both implementations agree, and outputs depend only on what they should."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from ldm.modules.attention import Attention, SpatialTransformer, TransformerBlock, attend


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def value_and_gradients(dtype: torch.dtype) -> list[Tensor]:
    q, k, v = (draw(3, n, 12, seed=n).to(dtype).requires_grad_() for n in (7, 5, 5))
    out = attend(q, k, v, heads=2)
    return [x.float() for x in (out, *torch.autograd.grad((out * draw(3, 7, 12, seed=1)).sum(), (q, k, v)))]


def test_the_plain_formula_in_bfloat16_equals_the_fused_kernel_in_float32_with_its_gradients():
    torch.testing.assert_close(
        value_and_gradients(torch.bfloat16), value_and_gradients(torch.float32), rtol=0.05, atol=0.02
    )


def test_the_plain_formula_is_used_only_for_gradients_in_bfloat16(monkeypatch):
    fused = []
    original = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *args, **kwargs: fused.append(True) or original(*args, **kwargs)
    )
    for dtype, gradients in itertools.product((torch.float32, torch.bfloat16), (False, True)):
        attend(*(draw(1, 3, 4).to(dtype).requires_grad_(gradients) for _ in range(3)), heads=1)
    assert len(fused) == 3


def test_heads_do_not_mix():
    q, k, v = draw(2, 4, 12), draw(2, 5, 12, seed=1), draw(2, 5, 12, seed=2)
    one_by_one = [attend(*(x[..., i : i + 4] for x in (q, k, v)), heads=1) for i in (0, 4, 8)]
    torch.testing.assert_close(attend(q, k, v, heads=3), torch.cat(one_by_one, dim=-1))


def test_the_order_of_the_context_does_not_matter_but_its_content_does():
    layer, x, context = Attention(6, heads=2, dim_head=4, context_dim=10), draw(2, 4, 6), draw(2, 5, 10)
    torch.testing.assert_close(layer(x, context), layer(x, context.flip(1)))
    assert not torch.allclose(layer(x, context), layer(x, 2 * context))


def test_self_attention_follows_its_positions():
    layer, x = Attention(6, heads=2, dim_head=4), draw(2, 5, 6)
    torch.testing.assert_close(layer(x.flip(1)), layer(x).flip(1))
    torch.testing.assert_close(layer(x), layer(x, x))


def test_a_block_listens_to_its_context():
    block, x, context = TransformerBlock(8, heads=2, dim_head=4, context_dim=6), draw(2, 5, 8), draw(2, 3, 6)
    assert block(x, context).shape == x.shape
    assert not torch.allclose(block(x, context), block(x, context.roll(1, 0)))


def test_a_spatial_transformer_begins_as_the_identity(awaken):
    layer, x, context = SpatialTransformer(8, 2, 4, context_dim=6, groups=4), draw(3, 8, 4, 6), draw(3, 5, 6)
    assert torch.equal(layer(x, context), x)
    assert not torch.allclose(awaken(layer)(x, context), x)
