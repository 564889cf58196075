"""A small CLIP (Radford et al. 2021), trained from scratch on the images and captions of a small world. It is the
evaluator of the shipped model."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from ldm.errors import UserError
from ldm.keyed_random import step_generator
from ldm.modules.text import WordPiece
from ldm.training.optimization import constant, with_schedule

from .evaluator import Evaluator
from .zero_shot import Question, embed_names, nearest

MAX_LOGIT_SCALE = math.log(100.0)  # as in the paper, section 2.5


def contrastive_loss(images: Tensor, texts: Tensor, logit_scale: Tensor) -> Tensor:
    """Return the symmetric cross entropy over all pairs of a batch, where image i belongs to text i (figure 3 of the
    CLIP paper). Both embeddings [b, d] have unit length; `logit_scale` is the logarithm of the inverse temperature."""
    with torch.autocast(images.device.type, enabled=False):  # half precision is too coarse for cosines times 100
        logits = logit_scale.clamp(max=MAX_LOGIT_SCALE).exp() * images @ texts.T
        own = torch.arange(len(images), device=images.device)
        return 0.5 * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own))


def zoom_and_shift(x: Tensor, zoom: float, shift: float, generator: torch.Generator) -> Tensor:
    """Randomly scale and shift each image [b, 3, H, W]: the window is larger or smaller by up to the fraction `zoom`,
    and moved by up to `shift` times half the side. Borders are mirrored."""
    scale = 1.0 + zoom * (2.0 * torch.rand(len(x), generator=generator) - 1.0)
    offset = shift * (2.0 * torch.rand(len(x), 2, generator=generator) - 1.0)
    theta = torch.cat([torch.diag_embed(scale[:, None].expand(-1, 2)), offset[:, :, None]], dim=2).to(x)
    window = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, window, padding_mode="reflection", align_corners=False)


class ConvStem(nn.Sequential):
    """Images [b, 3, S, S] -> one vector per patch [b, width, S / patch_size, S / patch_size], by strided convolutions.
    They learn shapes from far fewer images than a linear projection of patches (Xiao et al. 2021)."""

    def __init__(self, width: int, patch_size: int) -> None:
        halvings = round(math.log2(patch_size))
        if 2**halvings != patch_size:
            raise UserError(f"patch_size {patch_size} must be a power of 2")
        widths = [3, *(max(32, width >> i) for i in reversed(range(1, halvings))), width]
        layers: list[nn.Module] = []
        for i, o in pairwise(widths):
            layers += [nn.Conv2d(i, o, 3, stride=2, padding=1), nn.GroupNorm(8, o), nn.GELU()]
        super().__init__(*layers, nn.Conv2d(width, width, 1))

    @property
    def weight(self) -> Tensor:
        """The first parameter: transformers reads the dtype of the patch embedding from its weight."""
        return next(self.parameters())


class SmallCLIP(Evaluator):
    """An evaluator that can be trained.

    At every validation, the accuracy of zero-shot classification is measured for each of `questions`, over all held-out
    images and for each value of the label `by`; "label_<name>" of a batch holds the ground truth. Training images are
    augmented with `zoom_and_shift`, by `zoom` and `shift`."""

    def __init__(
        self,
        tokenizer: WordPiece,
        image_size: int = 128,
        patch_size: int = 16,
        image_width: int = 192,
        image_layers: int = 5,
        image_heads: int = 3,
        text_width: int = 128,
        text_layers: int = 3,
        text_heads: int = 2,
        projection: int = 128,
        questions: Mapping[str, Question] | None = None,
        by: str | None = None,
        zoom: float = 0.0,
        shift: float = 0.0,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        schedule: Callable[[int], float] = constant,
        seed: int = 0,
    ) -> None:
        vision = {"image_size": image_size, "patch_size": patch_size}
        text = {
            "vocab_size": tokenizer.vocab_size,
            "max_position_embeddings": tokenizer.max_length,
            "pad_token_id": tokenizer.pad_id,
            "bos_token_id": tokenizer.cls_id,
            "eos_token_id": tokenizer.sep_id,  # the token whose state is the text embedding
        }
        config = CLIPConfig(
            vision_config=vision | _tower(image_width, image_layers, image_heads),
            text_config=text | _tower(text_width, text_layers, text_heads),
            projection_dim=projection,
        )
        model = CLIPModel(config)
        model.vision_model.embeddings.add_module("patch_embedding", ConvStem(image_width, patch_size))
        model.set_attn_implementation("eager")  # faster on CPUs than fused attention for 65 and 36 positions
        super().__init__(model, partial(_trimmed, tokenizer), image_size)
        self.questions, self.by = dict(questions or {}), by
        self.zoom, self.shift = zoom, shift
        self.optimizer, self.schedule, self.seed = optimizer, schedule, seed
        self._answers: dict[str, Tensor] = {}

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        x, rng = batch["image"], step_generator(self.seed, self.global_step, self.global_rank)
        if self.zoom or self.shift:
            x = zoom_and_shift(x, self.zoom, self.shift, rng)
        images, texts = self.embed_images(x), self.embed_texts(batch["caption"])
        loss = contrastive_loss(images, texts, self.model.logit_scale)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(x))
        return loss

    def on_validation_epoch_start(self) -> None:
        self._answers = {name: embed_names(self, q.words, q.forms) for name, q in self.questions.items()}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log the loss within the batch, the accuracy of each question ("val/class"), and the accuracy for the images
        with each value of the label `by` ("val/class_photo")."""
        x = batch["image"]
        images, texts = self.embed_images(x), self.embed_texts(batch["caption"])
        self.log("val/loss", contrastive_loss(images, texts, self.model.logit_scale), batch_size=len(x))
        for name, question in self.questions.items():
            truth = torch.tensor([question.index(label) for label in batch[f"label_{name}"]], device=x.device)
            right = (nearest(images, self._answers[name]) == truth).float()
            self.log(f"val/{name}", right.mean(), prog_bar=True, batch_size=len(x))
            for value, rows in _rows_of(batch[f"label_{self.by}"] if self.by else []).items():
                self.log(f"val/{name}_{value}", right[rows].mean(), batch_size=len(rows))

    def configure_optimizers(self) -> Any:
        return with_schedule(self.optimizer(self.parameters()), self.schedule)


def _trimmed(tokenizer: WordPiece, texts: list[str]) -> Tensor:
    """Tokenize texts to ids [n, longest], without common padding. Attention is causal, so [SEP] ignores what follows
    it."""
    ids = tokenizer(texts)
    return ids[:, : int((ids != tokenizer.pad_id).sum(dim=1).max())]


def _tower(width: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_act": "gelu",
    }


def _rows_of(labels: list[str]) -> dict[str, list[int]]:
    """Return the rows of each label: label -> row indices."""
    return {label: [i for i, other in enumerate(labels) if other == label] for label in sorted(set(labels))}
