"""Attention layers of the UNet: self-attention over positions and cross-attention to the condition (Rombach et al.
2022, section 3.3)."""

from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .layers import GEGLU, group_norm, zero_init

KeysAndValues = tuple[Tensor, Tensor]  # of a context [b, m, d], both [b, m, heads * d]


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v with `heads` heads: q [b, n, heads * d], k and v [b, m, heads * d] -> [b, n,
    heads * d]. Keys where `mask` [b, m] is False are ignored."""
    q, k, v = (rearrange(x, "b n (h d) -> b h n d", h=heads) for x in (q, k, v))
    seen = None if mask is None else mask[:, None, None, :]
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.requires_grad:
        # The plain formula: on CPUs, the backward pass of the fused kernel takes 4 to 10 times as long in bfloat16.
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        out = (scores if seen is None else scores.masked_fill(~seen, -torch.inf)).softmax(dim=-1) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    return rearrange(out, "b h n d -> b n (h d)")


class Attention(nn.Module):
    """Multi-head attention from x [b, n, dim] to context [b, m, context_dim], or to its keys and values (`project`) ->
    [b, n, dim]. Without a context, x attends to itself."""

    def __init__(self, dim: int, heads: int, dim_head: int, context_dim: int | None = None) -> None:
        super().__init__()
        inner = heads * dim_head
        self.heads = heads
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_k = nn.Linear(context_dim or dim, inner, bias=False)
        self.to_v = nn.Linear(context_dim or dim, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, dim))

    def project(self, context: Tensor) -> KeysAndValues:
        return self.to_k(context), self.to_v(context)

    def forward(self, x: Tensor, context: Tensor | KeysAndValues | None = None, mask: Tensor | None = None) -> Tensor:
        keys, values = context if isinstance(context, tuple) else self.project(x if context is None else context)
        return self.to_out(attend(self.to_q(x), keys, values, self.heads, mask))


class FeedForward(nn.Module):
    """GEGLU and a linear projection, with 4 * dim hidden units. [.., dim] -> [.., dim]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        # The published model has dropout, without parameters, at index 1: the Identity keeps the parameter names.
        self.net = nn.Sequential(GEGLU(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Pre-norm self-attention, cross-attention and feed-forward, each with a residual. x [b, n, dim], context
    [b, m, d]. Without a context, both attention layers are self-attention."""

    def __init__(self, dim: int, heads: int, dim_head: int, context_dim: int) -> None:
        super().__init__()
        self.attn1 = Attention(dim, heads, dim_head)
        self.ff = FeedForward(dim)
        self.attn2 = Attention(dim, heads, dim_head, context_dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, context: Tensor | KeysAndValues | None) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A transformer block over the positions of a feature map, with a residual. x [b, c, h, w], context [b, m, d], or
    one context per cross-attention layer of the network, [b, layers, m, d], or their keys and values in a list: then
    number `layer` is used, which the network sets."""

    layer = 0

    def __init__(self, channels: int, heads: int, dim_head: int, context_dim: int, groups: int = 32) -> None:
        super().__init__()
        inner = heads * dim_head
        self.norm = group_norm(channels, groups)
        self.proj_in = nn.Conv2d(channels, inner, 1)
        # A list, although all published models have one block: it keeps the parameter names.
        self.transformer_blocks = nn.ModuleList([TransformerBlock(inner, heads, dim_head, context_dim)])
        self.proj_out = zero_init(nn.Conv2d(inner, channels, 1))

    def project(self, context: Tensor) -> KeysAndValues:
        """Return the keys and values of the context of this layer."""
        (block,) = self.transformer_blocks
        return cast(TransformerBlock, block).attn2.project(self._own(context))

    def _own(self, context: Tensor) -> Tensor:
        return context[:, self.layer] if context.ndim == 4 else context

    def forward(self, x: Tensor, context: Tensor | list[KeysAndValues] | None) -> Tensor:
        if isinstance(context, list):
            own = context[self.layer]
        else:
            own = None if context is None else self._own(context)
        h = _linear(self.proj_in, rearrange(self.norm(x), "b c h w -> b (h w) c"))
        for block in self.transformer_blocks:
            h = block(h, own)
        return x + rearrange(_linear(self.proj_out, h), "b (h w) c -> b c h w", h=x.shape[2])


def _linear(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to positions x [b, n, c], as a product of matrices."""
    return F.linear(x, conv.weight.flatten(1), conv.bias)


class AttentionBlock(nn.Module):
    """Self-attention over the positions of a feature map [b, c, h, w], for UNets without a condition. One projection
    computes q, k and v. Its channels are split by head first, then into q, k and v. The published code calls this order
    "legacy", and all published weights have it."""

    def __init__(self, channels: int, heads: int, groups: int = 32) -> None:
        super().__init__()
        self.heads = heads
        self.norm = group_norm(channels, groups, eps=1e-5)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zero_init(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        flat = rearrange(x, "b c h w -> b c (h w)")
        qkv = self.qkv(self.norm(flat))
        qkv = rearrange(qkv, "b (heads three d) n -> three b n (heads d)", three=3, heads=self.heads)
        h = self.proj_out(rearrange(attend(*qkv, heads=self.heads), "b n c -> b c n"))
        return (flat + h).view(x.shape)
