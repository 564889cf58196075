"""CLIP as the evaluator of images: OpenAI's ViT-B/32, as in the paper. For Toyland, see `SmallCLIP`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from ldm.errors import UserError

Tokenize = Callable[[list[str]], Tensor]  # n texts -> ids [n, longest]

# Statistics of the training images of OpenAI's models, RGB in [0, 1] (github.com/openai/CLIP, clip/clip.py).
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


class Evaluator(L.LightningModule):
    """Images x [b, 3, H, W] in [-1, 1] and texts -> embeddings [b, projection] of unit length.

    Images must be square. They are resized to `image_size` and standardised by `mean` and `std`, which are for values
    in [0, 1]; the defaults leave values in [-1, 1] unchanged."""

    def __init__(
        self,
        model: CLIPModel,
        tokenize: Tokenize,
        image_size: int,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        self.model, self.tokenize, self.image_size, self.mode = model, tokenize, image_size, mode
        self.mean, self.std = tuple(mean), tuple(std)

    def embed_images(self, x: Tensor) -> Tensor:
        """Embed images x [b, 3, H, W] in [-1, 1] to [b, projection]."""
        if x.shape[-2:] != (self.image_size, self.image_size):
            x = F.interpolate(x, size=self.image_size, mode=self.mode, antialias=True, align_corners=False)
        mean, std = (torch.tensor(v, device=x.device)[:, None, None] for v in (self.mean, self.std))
        standardised = (x - (2.0 * mean - 1.0)) / (2.0 * std)
        pooled = self.model.vision_model(pixel_values=standardised).pooler_output
        return F.normalize(self.model.visual_projection(pooled).float(), dim=-1)

    def embed_texts(self, texts: list[str]) -> Tensor:
        """Embed b texts to [b, projection]."""
        pooled = self.model.text_model(input_ids=self.tokenize(texts).to(self.device)).pooler_output
        return F.normalize(self.model.text_projection(pooled).float(), dim=-1)


def load_clip(folder: str) -> Evaluator:
    """Load a CLIP of OpenAI, such as ViT-B/32, from the `folder` that it was downloaded to. Raises UserError if the
    folder holds no CLIP."""
    if not (Path(folder) / "config.json").is_file():
        raise UserError(f"no CLIP at {folder}: python scripts/fetch.py model=clip_vit_b32 downloads ViT-B/32.")
    model = CLIPModel.from_pretrained(folder, local_files_only=True)
    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)

    def tokenize(texts: list[str]) -> Tensor:
        return tokenizer(texts, padding=True, truncation=True, return_tensors="pt")["input_ids"]

    vision: Any = model.config.vision_config
    return Evaluator(model, tokenize, vision.image_size, OPENAI_MEAN, OPENAI_STD, mode="bicubic")
