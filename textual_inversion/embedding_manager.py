"""Pseudo-words in the embedding space of the text encoder (Gal et al. 2022, figure 2): expand ids, embed, overwrite."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from ldm.modules.text import UNKNOWN, BERTTextEncoder, WordPiece

log = logging.getLogger(__name__)


def initial_vectors(text: BERTTextEncoder, initializer: str, num_vectors: int) -> Tensor:
    """The embedding of a coarse word, [num_vectors, width], all rows alike; of a word that the vocabulary holds in
    several pieces, their mean. Raises ValueError for a word that it can only spell letter by letter."""
    tokenizer = text.tokenizer
    pieces = tokenizer.pieces(initializer)
    words = [tokenizer.word(piece) for piece in pieces]
    if not pieces or UNKNOWN in words or (len(words) > 1 and any(len(word.removeprefix("##")) == 1 for word in words)):
        known = [word for word in tokenizer.words if len(word) > 2 and word.isalpha()]
        near = get_close_matches(initializer.lower(), known, n=3, cutoff=0.5)
        hint = (
            f"near it are {', '.join(near)}" if near else "choose a word that the model was trained with, such as 'cat'"
        )
        raise ValueError(f"the initializer {initializer!r} is no word of the model's vocabulary; {hint}.")
    if len(pieces) > 1:
        log.info(
            "the initializer %r is several word pieces (%s): starting from their mean", initializer, " ".join(words)
        )
    ids = torch.tensor(pieces, device=text.device)
    return text.embed(ids).mean(dim=0).float().expand(num_vectors, -1).clone()


class EmbeddingManager(nn.Module):
    """Learned vectors v* of any number of placeholders, and how they come into a prompt.

    A placeholder is any string; it is found before the text is tokenised and takes as many places as it has vectors,
    under ids of its own that follow the vocabulary's.
    """

    def __init__(self, tokenizer: WordPiece, words: Mapping[str, Tensor]) -> None:
        """`words`: placeholder -> its vectors [k, width]; they become float32 parameters."""
        super().__init__()
        self.tokenizer = tokenizer
        self.placeholders = tuple(words)
        self.vectors = nn.ParameterList([nn.Parameter(vectors.detach().float().clone()) for vectors in words.values()])
        counts = [len(vectors) for vectors in words.values()]
        starts = [tokenizer.vocab_size + sum(counts[:i]) for i in range(len(counts))]
        self._ids = {p: list(range(s, s + n)) for p, s, n in zip(words, starts, counts, strict=True)}
        self._pattern = re.compile("|".join(map(_as_pattern, sorted(words, key=len, reverse=True))))

    def mentions(self, prompt: str) -> list[str]:
        """The placeholders in `prompt`, in their order there."""
        return self._pattern.findall(prompt)

    def tokenize(self, prompts: Iterable[str], active: int | None = None) -> Tensor:
        """n prompts -> ids [n, max_length]; of each word at most the first `active` vectors, None: all. Raises
        ValueError if a placeholder falls off the end."""
        return torch.tensor([self._ids_of(prompt, active) for prompt in prompts])

    def _ids_of(self, prompt: str, active: int | None) -> list[int]:
        pieces: list[int] = []
        end = 0
        for match in self._pattern.finditer(prompt):
            pieces += self.tokenizer.pieces(prompt[end : match.start()]) + self._ids[match.group()][:active]
            end = match.end()
        pieces += self.tokenizer.pieces(prompt[end:])
        room = self.tokenizer.max_length - 2
        if any(piece >= self.tokenizer.vocab_size for piece in pieces[room:]):
            raise ValueError(
                f"{prompt!r} has {len(pieces)} pieces, the model reads {room}: the placeholder is cut off."
            )
        if len(pieces) > room:
            log.warning("%r is cut: the model reads %d pieces of its %d", prompt, room, len(pieces))
        return self.tokenizer.frame(pieces)

    def embed(self, ids: Tensor, table: Callable[[Tensor], Tensor]) -> Tensor:
        """ids [b, n] -> embeddings [b, n, width]: rows of the model's `table`, and v* where an id is a
        placeholder's."""
        own = ids - self.tokenizer.vocab_size
        rows = torch.cat(list(self.vectors))
        frozen = table(ids.where(own < 0, self.tokenizer.pad_id))
        return torch.where((own >= 0)[..., None], rows[own.clamp(min=0)].to(frozen.dtype), frozen)

    def encode(self, text: BERTTextEncoder, prompts: Sequence[str]) -> Tensor:
        """Prompts -> c [n, max_length, width] through the frozen encoder `text`."""
        return text.encode(self.embed(self.tokenize(prompts).to(text.device), text.embed))


def _as_pattern(placeholder: str) -> str:
    """The placeholder itself, but not as a part of a longer word."""
    before = r"(?<!\w)" if re.match(r"\w", placeholder) else ""
    after = r"(?!\w)" if re.search(r"\w$", placeholder) else ""
    return before + re.escape(placeholder) + after
