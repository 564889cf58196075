"""CLIP as the judge of pictures: OpenAI's ViT-B/32 at the paper's scale; `SmallCLIP` is one of Toyland's own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

Tokenize = Callable[[list[str]], Tensor]  # n sentences -> ids [n, longest]

# Of the pictures that OpenAI's models were trained on, RGB in [0, 1] (github.com/openai/CLIP, clip/clip.py).
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


class Evaluator(L.LightningModule):
    """Pictures x [b, 3, H, W] in [-1, 1] and sentences -> embeddings [b, projection] of unit length.

    Square pictures are brought to `image_size` and, in [0, 1], standardised by `mean` and `std`; the default leaves
    them in [-1, 1]."""

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
        """x [b, 3, H, W] in [-1, 1] -> [b, projection]."""
        if x.shape[-2:] != (self.image_size, self.image_size):
            x = F.interpolate(x, size=self.image_size, mode=self.mode, antialias=True, align_corners=False)
        mean, std = (torch.tensor(v, device=x.device)[:, None, None] for v in (self.mean, self.std))
        standardised = (x - (2.0 * mean - 1.0)) / (2.0 * std)
        pooled = self.model.vision_model(pixel_values=standardised).pooler_output
        return F.normalize(self.model.visual_projection(pooled).float(), dim=-1)

    def embed_texts(self, texts: list[str]) -> Tensor:
        """b sentences -> [b, projection]."""
        pooled = self.model.text_model(input_ids=self.tokenize(texts).to(self.device)).pooler_output
        return F.normalize(self.model.text_projection(pooled).float(), dim=-1)


def pretrained_clip(folder: str) -> Evaluator:
    """A CLIP of OpenAI's, such as ViT-B/32, from the `folder` into which it was downloaded. Raises ValueError if it is
    not there."""
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"no CLIP at {folder}: python scripts/fetch.py model=clip_vit_b32 downloads ViT-B/32.")
    model = CLIPModel.from_pretrained(folder, local_files_only=True)
    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)

    def tokenize(texts: list[str]) -> Tensor:
        return tokenizer(texts, padding=True, truncation=True, return_tensors="pt")["input_ids"]

    vision: Any = model.config.vision_config
    return Evaluator(model, tokenize, vision.image_size, OPENAI_MEAN, OPENAI_STD, mode="bicubic")
