"""The mapper of a word that depends on time and space (Alaluf et al. 2023, "A Neural Space-Time Representation for
Text-to-Image Personalization"): a small network from the timestep and the cross-attention layer to v*."""

from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ldm.errors import UserError
from ldm.modules.layers import zero_init

TIMES = 10  # anchors in time, for each layer
PER_STEP, PER_LAYER = 0.03, 2.0  # how fast positions become unlike, with the timestep and from layer to layer
HIDDEN = 128


class _Linear(nn.Module):
    """A linear map whose weights have variance 1 and are scaled when they are used. A step of the optimiser then moves
    them by the same share as it moves embeddings, whose variance is 1 as well: one learning rate fits both."""

    def __init__(self, inputs: int, outputs: int, rng: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, generator=rng))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.weight.shape[1] ** -0.5, self.bias)


class Mapper(nn.Module):
    """(vectors [k, d], t [b]) -> v* at the timesteps t for each of `layers`: [b, k, layers, d].

    The network adds an offset to the vectors; then each is rescaled to its norm in `norms` [k], that of the coarse
    word. The last layer is zero before training, so that the word starts as its vectors.

    A position (t, layer) is encoded by its similarity to `TIMES` anchors in each layer, exp(-d^2 / 2). This is what the
    random Fourier features of the paper give on average, after their projection onto the same anchors. The paper's
    second output, which bypasses the text encoder, is left out."""

    anchors: Tensor
    norms: Tensor

    def __init__(self, norms: Tensor, layers: int, width: int, timesteps: int, rng: torch.Generator) -> None:
        super().__init__()
        times = (torch.arange(TIMES) + 0.5) * timesteps / TIMES
        self.register_buffer("anchors", torch.cartesian_prod(times, torch.arange(layers).float()))
        self.register_buffer("norms", norms.detach().float().clone())
        self.shape, self.layers = torch.Size([len(norms), width]), layers
        self.hidden = nn.Sequential(
            _Linear(len(self.anchors), HIDDEN, rng), nn.LayerNorm(HIDDEN), nn.LeakyReLU(),
            _Linear(HIDDEN, HIDDEN, rng), nn.LayerNorm(HIDDEN), nn.LeakyReLU(),
        )  # fmt: skip
        # skip_init leaves the global generator alone, which a file that is read must not change
        self.output = zero_init(nn.utils.skip_init(nn.Linear, HIDDEN, len(norms) * width, bias=False))

    @staticmethod
    def layers_in(tensors: Mapping[str, Tensor]) -> int:
        """Return the number of layers of the mapper with these tensors of a state dict."""
        return len(tensors["anchors"]) // TIMES

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return the mapper with these tensors of a state dict. Raises UserError if they are none of a mapper."""
        try:
            k, layers = len(tensors["norms"]), cls.layers_in(tensors)
            mapper = cls(tensors["norms"], layers, len(tensors["output.weight"]) // k, 1, torch.Generator())
            mapper.load_state_dict(dict(tensors))
        except (KeyError, RuntimeError, TypeError, ZeroDivisionError) as error:
            raise UserError(f"its mapper is broken ({str(error).splitlines()[0]})") from error
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise UserError("its mapper has numbers that are NaN or infinite")
        return mapper.requires_grad_(False)

    def encode(self, t: Tensor) -> Tensor:
        """Encode the positions of all layers at the timesteps t [b]: [b, layers, anchors]."""
        places = torch.arange(self.layers, device=t.device)
        in_time = PER_STEP * (t[:, None, None] - self.anchors[:, 0])
        in_space = PER_LAYER * (places[:, None] - self.anchors[:, 1])
        return torch.exp(-(in_time.square() + in_space.square()) / 2.0)

    def forward(self, vectors: Tensor, t: Tensor, kept: Tensor | None = None) -> Tensor:
        """`kept` [b] is the share of the hidden units that each sample uses, the first ones: nested dropout."""
        hidden = self.hidden(self.encode(t))
        if kept is not None:
            used = torch.arange(HIDDEN, device=t.device) < (kept[:, None] * HIDDEN).ceil()
            hidden = hidden * used[:, None]
        # The mean over the hidden units: a step moves the offset no further than it moves the vectors.
        offset = (self.output(hidden) / HIDDEN).unflatten(-1, vectors.shape).transpose(1, 2)
        return F.normalize(vectors[:, None] + offset, dim=-1) * self.norms[:, None, None]
