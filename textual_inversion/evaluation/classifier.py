"""A small convolutional network that classifies the attributes of an image: class, colour, pattern, background, ... The
paper could not measure these; the procedural world provides the ground truth to train it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ldm.keyed_random import step_generator
from ldm.training.autoencoder_loss import PerceptualDistance
from ldm.training.optimization import constant, with_schedule

_IGNORED = -100  # the index that cross_entropy ignores


class ResidualBlock(nn.Module):
    """Two pre-norm convolutions with a residual, x [b, c, h, w] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, channels), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def soften(x: Tensor, blur: float, noise: float, generator: torch.Generator) -> Tensor:
    """Degrade half of the images x [b, 3, H, W] in [-1, 1], so that they resemble outputs of the autoencoder: blur them
    by up to `blur` pixels (standard deviation) and add noise of up to `noise`."""
    amount, strength, spared = torch.rand(3, len(x), generator=generator).to(x)
    sigma = (blur * amount).clamp(min=1e-3)[:, None]
    offsets = torch.arange(-3, 4, device=x.device)[None]
    kernel = torch.softmax(-0.5 * (offsets / sigma).square(), dim=1)  # one per image
    padded = F.pad(x, (3, 3, 3, 3), mode="replicate").transpose(0, 1)  # [3, b, ...]: one group per image
    smooth = F.conv2d(padded, kernel[:, None, None, :], groups=len(x))
    smooth = F.conv2d(smooth, kernel[:, None, :, None], groups=len(x)).transpose(0, 1)
    rough = smooth + noise * strength[:, None, None, None] * torch.randn(x.shape, generator=generator).to(x)
    return torch.where((spared < 0.5)[:, None, None, None], x, rough)


class AttributeClassifier(L.LightningModule):
    """Images x [b, 3, H, W] in [-1, 1] -> logits [b, values] for each of `labels` (name -> its values).

    "label_<name>" of a batch holds the ground truth. A value that is not among the label's values is ignored in
    training and validation. Training images are degraded with `soften`, by `blur` and `noise`."""

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
        """Return the feature maps of the trunk at half the resolution, a quarter, ...: [b, c, h, w] each."""
        found = []
        for layer in self.trunk:
            if isinstance(layer, nn.Conv2d):
                found.append(x)
            x = layer(x)
        return [*found[1:], x]

    def features(self, x: Tensor) -> Tensor:
        """Return the mean and the maximum of every channel over the image: [b, d]."""
        maps = self.trunk(x)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.features(x)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def names(self, x: Tensor, batch_size: int = 64) -> dict[str, list[str]]:
        """Return the predicted values of each label for images [n, 3, H, W]."""
        found: dict[str, list[str]] = {name: [] for name in self.labels}
        for part in x.split(batch_size):
            for name, logits in self(part.to(self.device)).items():
                found[name] += [self.labels[name][i] for i in logits.argmax(dim=1).tolist()]
        return found

    def truth(self, batch: Mapping[str, Any], name: str) -> Tensor:
        """Return the indices [b] of the true values of label `name`."""
        values = {value: i for i, value in enumerate(self.labels[name])}
        return torch.tensor([values.get(value, _IGNORED) for value in batch[f"label_{name}"]], device=self.device)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        rng = step_generator(self.seed, self.global_step, self.global_rank)
        with torch.autocast(self.device.type, enabled=False):  # one kernel per image is slow in half precision
            x = soften(batch["image"], self.blur, self.noise, rng)
        losses = []
        for name, logits in self(x).items():
            truth = self.truth(batch, name)
            # Divide by the batch size, so that images do not count for more if few of them have the label.
            losses.append(F.cross_entropy(logits, truth, reduction="sum", ignore_index=_IGNORED) / len(truth))
        loss = torch.stack(losses).sum()
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(x))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log the accuracy of each label among the images that have it."""
        for name, logits in self(batch["image"]).items():
            truth = self.truth(batch, name)
            known = truth != _IGNORED
            if known.any():
                right = (logits.argmax(dim=1) == truth)[known].float().mean()
                self.log(f"val/{name}", right, prog_bar=True, batch_size=int(known.sum()))

    def configure_optimizers(self) -> Any:
        return with_schedule(self.optimizer(self.parameters()), self.schedule)


def perceptual_distance(classifier: AttributeClassifier, images: Tensor, others: Tensor) -> float:
    """Return the mean distance between images [n, 3, H, W] in [-1, 1] and `others` of the same shape, in the feature
    maps of the classifier: 0 for equal images, at most 4."""
    measure = PerceptualDistance(classifier, lambda _, x: classifier.maps(x))
    pairs = zip(images.split(32), others.split(32), strict=True)
    found = [len(x) * float(measure(x.to(classifier.device), y.to(classifier.device))) for x, y in pairs]
    return sum(found) / len(images)
