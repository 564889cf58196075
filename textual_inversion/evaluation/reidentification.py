"""Re-identification: is it the very same thing? An embedding in which images of one thing are near one another and far
from those of other things of its class. Image similarity in CLIP mostly measures the class and the colours."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

import numpy as np
import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ldm.errors import UserError
from ldm.images import to_tensor
from ldm.keyed_random import numpy_generator, step_generator
from ldm.training.data import Batch, CaptionedImages, FixedBatches, PictureData, labels_of
from ldm.training.optimization import constant, with_schedule

from .classifier import AttributeClassifier, pooled, soften


def things_of(source: Any) -> list[list[np.ndarray]]:
    """For each class, for each thing of the class, return the indices of its images. Raises UserError unless `source`
    has the labels "class" and "toy", which names the thing, and two images of each thing."""
    known = labels_of(source, range(len(cast(CaptionedImages, source).images)))
    if not {"label_class", "label_toy"} <= known.keys():
        raise UserError(
            f"the images of {type(source).__name__} need the labels 'class' and 'toy', to tell things apart."
        )
    classes: dict[str, dict[str, list[int]]] = {}
    for index, (kind, toy) in enumerate(zip(known["label_class"], known["label_toy"], strict=True)):
        classes.setdefault(kind, {}).setdefault(toy, []).append(index)
    if any(len(images) < 2 for things in classes.values() for images in things.values()):
        raise UserError(f"{type(source).__name__} needs at least two images of each thing.")
    return [[np.array(images) for images in things.values()] for things in classes.values()]


class PairData(PictureData):
    """Batches of `PictureData` of things of one class, two images of each: the second half of a batch shows the same
    things as the first half, in the same order. A batch is smaller than `batch_size` if the class has fewer things."""

    @cached_property
    def _things(self) -> list[list[np.ndarray]]:
        return things_of(self.train)

    def _indices(self, step: int) -> np.ndarray:
        rng = numpy_generator(self.seed, step, 2)
        things = self._things[step % len(self._things)]
        chosen = rng.permutation(len(things))[: self.batch_size // 2]
        return np.concatenate(np.stack([rng.permutation(things[i])[:2] for i in chosen], axis=1))

    def val_dataloader(self) -> DataLoader:
        """Yield one batch per class, with the first two images of each thing."""
        halves = [np.concatenate(np.stack([images[:2] for images in things], axis=1)) for things in things_of(self.val)]
        return DataLoader(FixedBatches([{"image": to_tensor(self.val.images[i])} for i in halves]), batch_size=None)


class ReIdentifier(L.LightningModule):
    """Images x [b, 3, H, W] in [-1, 1] -> embeddings [b, `dimension`] of unit length.

    `network` is a trained classifier, whose trunk is trained further. Each image of a batch of `PairData` has to find
    the other image of the same thing among all images of the other half, by cosine similarity (van den Oord et al.
    2018, InfoNCE). Training images are degraded with `soften`, by `blur` and `noise`."""

    def __init__(
        self,
        network: AttributeClassifier,
        dimension: int = 128,
        temperature: float = 0.05,
        blur: float = 1.0,
        noise: float = 0.05,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        schedule: Callable[[int], float] = constant,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.trunk = network.trunk
        width = cast(nn.Linear, next(iter(network.heads.values()))).in_features
        self.projection = nn.Linear(width, dimension)
        self.temperature, self.blur, self.noise = temperature, blur, noise
        self.optimizer, self.schedule, self.seed = optimizer, schedule, seed

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.projection(pooled(self.trunk(x))).float(), dim=-1)

    @torch.no_grad()
    def embed(self, images: Tensor, batch_size: int = 64) -> Tensor:
        """Embed images [n, 3, H, W] in [-1, 1] to [n, dimension], on the CPU."""
        return torch.cat([self(x.to(self.device)).cpu() for x in images.split(batch_size)])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        rng = step_generator(self.seed, self.global_step, self.global_rank)
        with torch.autocast(self.device.type, enabled=False):  # one kernel per image is slow in half precision
            x = soften(batch["image"], self.blur, self.noise, rng)
        ours, others = self(x).chunk(2)
        loss = self._loss(ours, others)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(x))
        return loss

    def _loss(self, ours: Tensor, others: Tensor) -> Tensor:
        logits = ours @ others.T / self.temperature
        own = torch.arange(len(logits), device=logits.device)
        return 0.5 * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own))

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log how often an image finds the other image of its thing among those of all things in the batch."""
        ours, others = self(batch["image"]).chunk(2)
        right = nearest(ours, others) == torch.arange(len(ours), device=ours.device)
        self.log("val/found", right.float().mean(), prog_bar=True, batch_size=len(ours))

    def configure_optimizers(self) -> Any:
        return with_schedule(self.optimizer(self.parameters()), self.schedule)


def centre(embeddings: Tensor) -> Tensor:
    """Return the mean direction [..., d] of m embeddings [..., m, d] of one thing."""
    return F.normalize(embeddings.mean(dim=-2), dim=-1)


def nearest(queries: Tensor, things: Tensor) -> Tensor:
    """Return the index [n] of the thing among `things` [k, d] that is nearest to each query [n, d], by cosine
    similarity. All have unit length."""
    return (queries @ things.T).argmax(dim=1)


class Lineup:
    """Tells how many images show the very thing that they should show, and not one of the `others` of its class.

    `others(kind)` returns m images of each of k other things of class `kind`, uint8 [k, m, H, W, 3]."""

    def __init__(self, network: ReIdentifier, others: Callable[[str], np.ndarray]) -> None:
        self.network, self.others = network, others
        self._lines: dict[str, tuple[Tensor, int]] = {}  # for each class, the centres of the others, and m

    def found(self, images: Tensor, own: np.ndarray, kind: str) -> float:
        """Return the fraction of `images` [n, 3, H, W] in [-1, 1] that are nearer to the thing in the images `own`,
        uint8 [.., H, W, 3], than to any other thing of class `kind`. The first m of `own` represent the thing, as many
        images as represent each of the others."""
        if kind not in self._lines:
            others = self.others(kind)
            embedded = self.network.embed(to_tensor(others.reshape(-1, *others.shape[2:])))
            self._lines[kind] = centre(embedded.unflatten(0, others.shape[:2])), others.shape[1]
        centres, m = self._lines[kind]
        line = torch.cat([centre(self.network.embed(to_tensor(own[:m])))[None], centres])
        return float((nearest(self.network.embed(images), line) == 0).float().mean())
