"""Attention of the UNet: self-attention over positions, cross-attention to the text (Rombach et al. 2022, section
3.3)."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .layers import GEGLU, group_norm, zero_init

# Up to here the plain formula beats the fused kernel on CPUs, by half in a training step of the Toyland UNet.
FEW_POSITIONS = 256


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v with `heads` heads; q [b, n, heads * d], k and v [b, m, heads * d] -> [b, n, heads *
    d]. Where `mask` [b, m] is False, nobody looks."""
    q, k, v = (rearrange(x, "b n (h d) -> b h n d", h=heads) for x in (q, k, v))
    seen = None if mask is None else mask[:, None, None, :]
    if q.device.type == "cpu" and q.shape[2] <= FEW_POSITIONS:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        out = (scores if seen is None else scores.masked_fill(~seen, -torch.inf)).softmax(dim=-1) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    return rearrange(out, "b h n d -> b n (h d)")


class Attention(nn.Module):
    """Multi-head attention from x [b, n, dim] to context [b, m, context_dim], or to x itself without one. -> [b, n,
    dim]"""

    def __init__(self, dim: int, heads: int, dim_head: int, context_dim: int | None = None) -> None:
        super().__init__()
        inner = heads * dim_head
        self.heads = heads
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_k = nn.Linear(context_dim or dim, inner, bias=False)
        self.to_v = nn.Linear(context_dim or dim, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, dim))

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        return self.to_out(attend(self.to_q(x), self.to_k(context), self.to_v(context), self.heads, mask))


class FeedForward(nn.Module):
    """GEGLU and a projection back, four times as wide inside. [.., dim] -> [.., dim]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        # The middle place belongs to the published model's dropout, which has no parameters.
        self.net = nn.Sequential(GEGLU(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Pre-norm self-attention, cross-attention, feed-forward, each with a residual. x [b, n, dim], context [b, m, d];
    without a context both attend to x itself."""

    def __init__(self, dim: int, heads: int, dim_head: int, context_dim: int) -> None:
        super().__init__()
        self.attn1 = Attention(dim, heads, dim_head)
        self.ff = FeedForward(dim)
        self.attn2 = Attention(dim, heads, dim_head, context_dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """Transformer blocks over the positions of a feature map, with a residual. x [b, c, h, w], context [b, m, d]."""

    def __init__(
        self, channels: int, heads: int, dim_head: int, depth: int, context_dim: int, groups: int = 32
    ) -> None:
        super().__init__()
        inner = heads * dim_head
        self.norm = group_norm(channels, groups)
        self.proj_in = nn.Conv2d(channels, inner, 1)
        self.transformer_blocks = nn.ModuleList(
            [TransformerBlock(inner, heads, dim_head, context_dim) for _ in range(depth)]
        )
        self.proj_out = zero_init(nn.Conv2d(inner, channels, 1))

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        h = rearrange(self.proj_in(self.norm(x)), "b c h w -> b (h w) c")
        for block in self.transformer_blocks:
            h = block(h, context)
        return x + self.proj_out(rearrange(h, "b (h w) c -> b c h w", h=x.shape[2]))


class AttentionBlock(nn.Module):
    """Self-attention over the positions of a feature map, of the UNets that read no text: one projection makes q, k and
    v. Its channels are grouped by head first, then into q, k and v ("legacy", of all published weights), or the other
    way round (`qkv_first`). [b, c, h, w]."""

    def __init__(self, channels: int, heads: int, qkv_first: bool = False, groups: int = 32) -> None:
        super().__init__()
        self.heads, self.qkv_first = heads, qkv_first
        self.norm = group_norm(channels, groups, eps=1e-5)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zero_init(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        flat = rearrange(x, "b c h w -> b c (h w)")
        order = "(three heads d)" if self.qkv_first else "(heads three d)"
        qkv = rearrange(self.qkv(self.norm(flat)), f"b {order} n -> three b n (heads d)", three=3, heads=self.heads)
        h = self.proj_out(rearrange(attend(*qkv, heads=self.heads), "b n c -> b c n"))
        return (flat + h).view(x.shape)
