"""Pseudo-words in the embedding space of the text encoder (Gal et al. 2022, figure 2): give placeholders their own
token ids, look up the embeddings, and replace those of placeholders by v*."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import cast

import torch
from torch import Tensor, nn

from ldm.conditioning import TextEncoder, Tokenizer
from ldm.errors import UserError
from ldm.modules.text import UNKNOWN

from .mapper import Mapper

log = logging.getLogger(__name__)

MOST_NAMED = 30  # words that an error message lists
NOTHING = "(?!)"  # a pattern that matches nowhere
_LETTER = r"[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"


def initial_vectors(text: TextEncoder, initializer: str, num_vectors: int) -> Tensor:
    """Return the embedding of a coarse word, repeated to [num_vectors, width]. If the tokenizer splits the word into
    several pieces, it is the mean of their embeddings. Raises UserError if a piece is unknown, or if one of several is
    a single letter."""
    tokenizer = text.tokenizer
    pieces = tokenizer.pieces(initializer)
    words = [tokenizer.word(piece) for piece in pieces]
    if not pieces or UNKNOWN in words or (len(words) > 1 and any(len(word.removeprefix("##")) == 1 for word in words)):
        hint = _proposal(initializer, tokenizer.initializers)
        raise UserError(f"the initializer {initializer!r} is no word of the model's vocabulary; {hint}.")
    if len(pieces) > 1:
        log.info(
            "the initializer %r has several word pieces (%s): starting from their mean", initializer, " ".join(words)
        )
    ids = torch.tensor(pieces, device=text.device)
    return text.embed(ids).float().mean(dim=0).expand(num_vectors, -1).clone()


def _proposal(initializer: str, known: Sequence[str]) -> str:
    near = get_close_matches(initializer.lower(), known, n=3, cutoff=0.7)
    if near:
        return f"near it are {', '.join(near)}"
    if len(known) <= MOST_NAMED:
        return f"the model knows {', '.join(known)}"
    return "choose a common word for what the pictures show, such as 'cat'"


class EmbeddingManager(nn.Module):
    """The learned vectors v* of any number of placeholders; inserts them into prompts.

    A placeholder is any string. It is found before the text is tokenised, and takes one token per vector, with its own
    ids after those of the vocabulary. A word may have vectors of its own for each cross-attention layer of the UNet
    (Voynov et al. 2023), or a mapper that makes them for each layer and timestep (Alaluf et al. 2023); then every
    prompt is encoded once per layer."""

    def __init__(
        self, tokenizer: Tokenizer, words: Mapping[str, Tensor], mappers: Mapping[str, Mapper] | None = None
    ) -> None:
        """`words` maps placeholders to their vectors, [k, width] or [k, layers, width], which become float32
        parameters, and `mappers` some of them to their mappers."""
        super().__init__()
        self.tokenizer = tokenizer
        self.placeholders = tuple(words)
        self.vectors = nn.ParameterList([nn.Parameter(vectors.detach().float().clone()) for vectors in words.values()])
        mappers = mappers or {}
        self.mappers = nn.ModuleDict({str(i): mappers[p] for i, p in enumerate(words) if p in mappers})
        counts = [len(vectors) for vectors in words.values()]
        starts = [tokenizer.vocab_size + sum(counts[:i]) for i in range(len(counts))]
        self._ids = {p: list(range(s, s + n)) for p, s, n in zip(words, starts, counts, strict=True)}
        longest_first = sorted(words, key=len, reverse=True)
        self._pattern = re.compile(f"({'|'.join(map(as_pattern, longest_first)) or NOTHING})")

    @property
    def layers(self) -> int | None:
        """The number of layers that words have vectors of their own for; None if no word has."""
        of_vectors = (vectors.shape[1] for vectors in self.vectors if vectors.ndim == 3)
        return next(of_vectors, next((cast(Mapper, mapper).layers for mapper in self.mappers.values()), None))

    def mapper(self, placeholder: str) -> Mapper | None:
        """Return the mapper of a word; None if it has none."""
        name = str(self.placeholders.index(placeholder))
        return cast(Mapper, self.mappers[name]) if name in self.mappers else None

    def mentions(self, prompt: str) -> list[str]:
        """Return the placeholders in `prompt`, in order of appearance."""
        return self._pattern.findall(prompt)

    def parts(self, prompt: str) -> list[tuple[str, bool]]:
        """Split the prompt into texts (False) and placeholders (True), in order."""
        return [(part, i % 2 == 1) for i, part in enumerate(self._pattern.split(prompt))]

    def unknown(self, prompt: str) -> list[str]:
        """Return the words of `prompt` that neither the tokenizer nor this manager knows, in order of appearance."""
        words = [word for part, learned in self.parts(prompt) if not learned for word in self.tokenizer.unknown(part)]
        return list(dict.fromkeys(words))

    def tokenize(self, prompts: Iterable[str], active: int | None = None) -> Tensor:
        """Tokenize n prompts to ids [n, max_length], with at most the first `active` vectors of each word (None: all).
        Raises UserError if a placeholder does not fit into `max_length`."""
        return torch.tensor([self._ids_of(prompt, active) for prompt in prompts])

    def pieces(self, prompt: str, active: int | None = None) -> list[int]:
        """Return the token ids of one prompt, without start and end tokens."""
        parts = self.parts(prompt)
        return [i for part, own in parts for i in (self._ids[part][:active] if own else self.tokenizer.pieces(part))]

    def _ids_of(self, prompt: str, active: int | None) -> list[int]:
        pieces = self.pieces(prompt, active)
        room = self.tokenizer.max_length - 2
        if any(piece >= self.tokenizer.vocab_size for piece in pieces[room:]):
            raise UserError(f"{prompt!r} has {len(pieces)} pieces, the model reads {room}: the placeholder is cut off.")
        if len(pieces) > room:
            log.warning("%r is truncated: the model reads only %d of its %d pieces", prompt, room, len(pieces))
        return self.tokenizer.frame(pieces)

    def embed(
        self,
        ids: Tensor,
        table: Callable[[Tensor], Tensor],
        t: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Tensor:
        """Embed ids [b, n] to [b, n, width]: rows of the model's `table`, and v* for the ids of placeholders. If a word
        has vectors for each layer, the result is [b, layers, n, width]. Mappers need the timesteps t, [b] or [1]; for
        `kept` see them."""
        if not self.placeholders:
            return table(ids)
        own, layers = ids - self.tokenizer.vocab_size, self.layers
        frozen = table(ids.where(own < 0, self.tokenizer.pad_id))
        if layers is None:
            v_star = torch.cat(list(self.vectors))[own.clamp(min=0)]
        else:
            rows = self._rows(layers, t, kept).expand(len(ids), -1, -1, -1)
            each = torch.arange(len(ids), device=ids.device)[:, None]
            v_star = rows[each, own.clamp(min=0)].transpose(1, 2)
            own, frozen = own[:, None], frozen[:, None]
        return torch.where((own >= 0)[..., None], v_star.to(frozen.dtype), frozen)

    def _rows(self, layers: int, t: Tensor | None, kept: Tensor | None) -> Tensor:
        """Return the K vectors of all words for each layer, [b, K, layers, width], or [1, ...] if no word needs t."""
        words = []
        for i, v in enumerate(self.vectors):
            if str(i) in self.mappers:
                if t is None:
                    raise ValueError(f"{self.placeholders[i]!r} depends on the timestep: pass t")
                words.append(self.mappers[str(i)](v, t, kept))
            else:
                words.append((v if v.ndim == 3 else v[:, None].expand(-1, layers, -1))[None])
        b = max(map(len, words))
        return torch.cat([word.expand(b, -1, -1, -1) for word in words], dim=1)

    def encode(self, text: TextEncoder, prompts: Sequence[str], t: Tensor | None = None) -> Tensor:
        """Encode n prompts, for mappers at the timestep t [1], to c, [n, max_length, width] or [n, layers, max_length,
        width], with the frozen encoder `text`."""
        return encode_rows(text, self.embed(self.tokenize(prompts).to(text.device), text.embed, t))


def encode_rows(text: TextEncoder, rows: Tensor) -> Tensor:
    """Encode embedded texts [b, n, width], or [b, layers, n, width], to c of the same shape."""
    if rows.ndim == 3:
        return text.encode(rows)
    return text.encode(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])


def as_pattern(placeholder: str) -> str:
    """Return a pattern for the placeholder that does not match inside of a longer word. Chinese, Japanese and Korean
    put no spaces between words, so their letters may stand beside it."""
    before = f"(?<!{_LETTER})" if re.match(_LETTER, placeholder) else ""
    after = f"(?!{_LETTER})" if re.search(f"{_LETTER}$", placeholder) else ""
    return before + re.escape(placeholder) + after
