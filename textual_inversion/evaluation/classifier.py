"""What is in a picture, exactly: a small convolutional network that names class, colour, pattern, background, ... The
paper could not measure these; in a procedural world the truth is known to train it on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ldm.keyed_random import generator
from ldm.training.optimization import constant, with_schedule

_IGNORED = -100  # cross entropy's own mark of a row without a truth


class ResidualBlock(nn.Module):
    """x [b, c, h, w] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, channels), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def soften(x: Tensor, blur: float, noise: float, generator: torch.Generator) -> Tensor:
    """Pictures [b, 3, H, W] in [-1, 1], half of them less sharp and less clean than renders are, as an autoencoder
    leaves them: blurred by up to `blur` (standard deviation, pixels), with noise of up to `noise`."""
    amount, strength, spared = torch.rand(3, len(x), generator=generator).to(x)
    sigma = (blur * amount).clamp(min=1e-3)[:, None]
    offsets = torch.arange(-3, 4, device=x.device)[None]
    kernel = torch.softmax(-0.5 * (offsets / sigma).square(), dim=1)  # one a picture
    padded = F.pad(x, (3, 3, 3, 3), mode="replicate").transpose(0, 1)  # [3, b, ...]: a group for each picture
    smooth = F.conv2d(padded, kernel[:, None, None, :], groups=len(x))
    smooth = F.conv2d(smooth, kernel[:, None, :, None], groups=len(x)).transpose(0, 1)
    rough = smooth + noise * strength[:, None, None, None] * torch.randn(x.shape, generator=generator).to(x)
    return torch.where((spared < 0.5)[:, None, None, None], x, rough)


class AttributeClassifier(L.LightningModule):
    """Pictures x [b, 3, H, W] in [-1, 1] -> for each of `labels` (name -> its values) logits [b, values].

    A batch's "label_<name>" holds the truth; a value that is none of the label's says nothing about that picture.
    In training pictures are `soften` by `blur` and `noise`.
    """

    def __init__(
        self,
        labels: Mapping[str, Sequence[str]],
        channels: Sequence[int] = (24, 48, 96, 192),
        blocks: Sequence[int] = (0, 1, 2, 2),
        blur: float = 1.5,
        noise: float = 0.1,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        schedule: Callable[[int], float] = constant,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.labels = {name: tuple(values) for name, values in labels.items()}
        layers: list[nn.Module] = []
        for i, o, count in zip([3, *channels[:-1]], channels, blocks, strict=True):
            layers += [nn.Conv2d(i, o, 3, stride=2, padding=1), *(ResidualBlock(o) for _ in range(count))]
        self.trunk = nn.Sequential(*layers, nn.GroupNorm(8, channels[-1]), nn.GELU())
        self.heads = nn.ModuleDict({name: nn.Linear(2 * channels[-1], len(values)) for name, values in labels.items()})
        self.blur, self.noise = blur, noise
        self.optimizer, self.schedule, self.seed = optimizer, schedule, seed

    def maps(self, x: Tensor) -> list[Tensor]:
        """What the trunk has seen at half the resolution, a quarter, ...: [b, c, h, w] each."""
        found = []
        for layer in self.trunk:
            if isinstance(layer, nn.Conv2d):
                found.append(x)
            x = layer(x)
        return [*found[1:], x]

    def features(self, x: Tensor) -> Tensor:
        """[b, d]: the mean and the maximum of every channel over the picture."""
        maps = self.trunk(x)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.features(x)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def names(self, x: Tensor, batch_size: int = 64) -> dict[str, list[str]]:
        """For each label what the pictures [n, 3, H, W] show."""
        found: dict[str, list[str]] = {name: [] for name in self.labels}
        for part in x.split(batch_size):
            for name, logits in self(part.to(self.device)).items():
                found[name] += [self.labels[name][i] for i in logits.argmax(dim=1).tolist()]
        return found

    def truth(self, batch: Mapping[str, Any], name: str) -> Tensor:
        """Numbers [b] of the values of label `name`."""
        values = {value: i for i, value in enumerate(self.labels[name])}
        return torch.tensor([values.get(value, _IGNORED) for value in batch[f"label_{name}"]], device=self.device)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        rng = generator(self.seed, self.global_step)
        with torch.autocast(self.device.type, enabled=False):  # a kernel for each picture is slow in half precision
            x = soften(batch["image"], self.blur, self.noise, rng)
        losses = []
        for name, logits in self(x).items():
            truth = self.truth(batch, name)
            # Over the whole batch: of a label that few pictures have, those few must not count for more.
            losses.append(F.cross_entropy(logits, truth, reduction="sum", ignore_index=_IGNORED) / len(truth))
        loss = torch.stack(losses).sum()
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(x))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """How often each label is named rightly, among the pictures that have it."""
        for name, logits in self(batch["image"]).items():
            truth = self.truth(batch, name)
            known = truth != _IGNORED
            if known.any():
                right = (logits.argmax(dim=1) == truth)[known].float().mean()
                self.log(f"val/{name}", right, prog_bar=True, batch_size=int(known.sum()))

    def configure_optimizers(self) -> Any:
        return with_schedule(self.optimizer(self.parameters()), self.schedule)
