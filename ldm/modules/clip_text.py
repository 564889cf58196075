"""The text encoder of Stable Diffusion 1: the transformer of CLIP ViT-L/14 (Radford et al. 2021), with the same three
public steps as the BERT-style encoder: tokenize, embed, encode. Parameter names and shapes are those of the published
checkpoint."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from transformers import CLIPTokenizer

from ..errors import UserError
from .text import TokenEncoder, unknown_words


class BytePairs:
    """The lower-casing byte-pair tokenizer of CLIP: text -> <|startoftext|> pieces <|endoftext|>, padded with
    <|endoftext|> to `max_length`. transformers splits the words, as in `WordPiece`. `folder` holds vocab.json and
    merges.txt. `initializers` are words to suggest to somebody who looks for the name of a thing: all words of one
    piece."""

    def __init__(self, folder: str | Path, max_length: int) -> None:
        folder = Path(folder)
        for name in ("vocab.json", "merges.txt"):
            if not (folder / name).is_file():
                raise UserError(f"no {name} in {folder}: CLIP's tokenizer needs both vocab.json and merges.txt.")
        self._tokenizer = CLIPTokenizer.from_pretrained(str(folder), model_max_length=max_length)
        self.max_length, self.vocab_size = max_length, len(self._tokenizer)
        self.start_id: int = self._tokenizer.bos_token_id
        self.end_id: int = self._tokenizer.eos_token_id
        self.pad_id = self.end_id
        self.words: list[str] = self._tokenizer.convert_ids_to_tokens(range(self.vocab_size))
        whole = (word.removesuffix("</w>") for word in self.words if word.endswith("</w>"))
        self.initializers = [word for word in whole if len(word) > 2 and word.isalpha()]

    def save(self, folder: Path) -> None:
        """Write the files from which transformers loads this tokenizer."""
        self._tokenizer.save_pretrained(str(folder))

    def pieces(self, text: str) -> list[int]:
        """Return the token ids of `text`, without start and end."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def unknown(self, text: str) -> list[str]:
        """Return the words of `text` that are spelled symbol by symbol."""
        return unknown_words(self._tokenizer, text)

    def word(self, index: int) -> str:
        """Return the piece with id `index`, without the end-of-word mark "</w>"."""
        return self.words[index].removesuffix("</w>")

    def frame(self, pieces: Sequence[int]) -> list[int]:
        """Add start and end tokens to `pieces`, truncated or padded to `max_length`."""
        ids = [self.start_id, *pieces[: self.max_length - 2], self.end_id]
        return ids + [self.pad_id] * (self.max_length - len(ids))

    def __call__(self, texts: Iterable[str]) -> Tensor:
        """Tokenize n texts to ids [n, max_length]. The empty text is the unconditional prompt."""
        return torch.tensor([self.frame(self.pieces(text)) for text in texts])


class _SelfAttention(nn.Module):
    """Causal multi-head self-attention. [b, n, width]"""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            rearrange(project(x), "b n (h d) -> b h n d", h=self.heads)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(rearrange(out, "b h n d -> b n (h d)"))


class _MLP(nn.Module):
    """Two linear layers with x * sigmoid(1.702 x) between them, CLIP's approximation of GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        return self.fc2(h * torch.sigmoid(1.702 * h))


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.self_attn = _SelfAttention(width, heads)
        self.layer_norm1 = nn.LayerNorm(width)
        self.mlp = _MLP(width, inner)
        self.layer_norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class CLIPTextEncoder(TokenEncoder):
    """Texts -> c [b, max_length, width]: the last hidden states at all positions, after the final LayerNorm.

    `inner` is the hidden width of the feed-forward layers. `vocabulary` is the folder with the tokenizer's files."""

    read = BytePairs

    def __init__(
        self,
        vocabulary: str | Path,
        vocab_size: int = 49408,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        inner: int = 3072,
        max_length: int = 77,
    ) -> None:
        super().__init__()
        self.vocabulary, self.vocab_size, self.width, self.max_length = vocabulary, vocab_size, width, max_length
        embeddings = nn.ModuleDict(
            {"token_embedding": nn.Embedding(vocab_size, width), "position_embedding": nn.Embedding(max_length, width)}
        )
        embeddings.register_buffer("position_ids", torch.arange(max_length)[None])  # in the checkpoint
        layers = nn.ModuleList([_Layer(width, heads, inner) for _ in range(depth)])
        text_model = nn.ModuleDict(
            {
                "embeddings": embeddings,
                "encoder": nn.ModuleDict({"layers": layers}),
                "final_layer_norm": nn.LayerNorm(width),
            }
        )
        self.transformer = nn.ModuleDict({"text_model": text_model})

    def _part(self, name: str) -> Any:
        return cast(nn.ModuleDict, self.transformer["text_model"])[name]

    def embed(self, ids: Tensor) -> Tensor:
        """Look up the token embeddings [b, n, width] of ids [b, n], without position embeddings."""
        return self._part("embeddings")["token_embedding"](ids)

    def positions(self, n: int) -> Tensor:
        """Return the embeddings of the first n positions [n, width], which `encode` adds."""
        return self._part("embeddings")["position_embedding"].weight[:n]

    def encode(self, embeddings: Tensor) -> Tensor:
        """Encode token embeddings [b, n, width] to c [b, n, width]."""
        h = embeddings + self.positions(embeddings.shape[1])
        for layer in self._part("encoder")["layers"]:
            h = layer(h)
        return self._part("final_layer_norm")(h)
