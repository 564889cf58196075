"""The text encoder in three public steps, tokenize -> embed -> encode, so that learned embeddings can be inserted
before the third. The encoder is the BERT-style transformer that was trained together with the 1.4B model."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

import pytorch_lightning as L
import torch
from torch import Tensor, nn
from transformers import BertTokenizer, PreTrainedTokenizerFast

from ..conditioning import Tokenizer
from ..errors import UserError
from .attention import attend

UNKNOWN = "[UNK]"
THINGS = "things.txt"  # beside the vocabulary of a small world: those of its words that name a thing


class WordPiece:
    """The lower-casing WordPiece tokenizer of bert-base-uncased: text -> [CLS] pieces [SEP], truncated or padded with
    [PAD] to `max_length`. There is no attention mask: the published model also attends to the padding. transformers
    splits the words. They are framed here, since learned words go between the pieces.

    `initializers` are words to suggest to somebody who looks for the name of a thing: those of things.txt beside the
    vocabulary, or all words of one piece."""

    def __init__(self, vocabulary: str | Path, max_length: int) -> None:
        path = Path(vocabulary)
        if not path.is_file():
            raise UserError(f"no vocabulary at {path}: expected a text file with one word piece per line, [PAD] first.")
        words = path.read_text(encoding="utf-8").splitlines()
        self.max_length = max_length
        self._tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)}, do_lower_case=True)
        self.words, self.vocab_size = words, len(words)
        things = path.with_name(THINGS)
        whole = [word for word in words if len(word) > 2 and word.isalpha()]
        self.initializers = things.read_text(encoding="utf-8").split() if things.is_file() else whole
        self.pad_id, self.cls_id, self.sep_id, self.unknown_id = (
            words.index(special) for special in ("[PAD]", "[CLS]", "[SEP]", UNKNOWN)
        )

    def save(self, folder: Path) -> None:
        """Write the files from which transformers 4 and 5 load this tokenizer. Version 5 writes none for version 4."""
        self._tokenizer.save_pretrained(str(folder))
        (folder / "vocab.txt").write_text("\n".join(self.words) + "\n", encoding="utf-8")
        set_max_length(folder, self.max_length)

    def pieces(self, text: str) -> list[int]:
        """Return the token ids of `text`, without [CLS] and [SEP]."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def unknown(self, text: str) -> list[str]:
        """Return the words of `text` that become [UNK] or are spelled symbol by symbol."""
        return unknown_words(self._tokenizer, text)

    def word(self, index: int) -> str:
        """Return the word piece with id `index`."""
        return self.words[index]

    def frame(self, pieces: Sequence[int]) -> list[int]:
        """Add [CLS] and [SEP] to `pieces`, truncated or padded to `max_length`."""
        ids = [self.cls_id, *pieces[: self.max_length - 2], self.sep_id]
        return ids + [self.pad_id] * (self.max_length - len(ids))

    def __call__(self, texts: Iterable[str]) -> Tensor:
        """Tokenize n texts to ids [n, max_length]. The empty text is the unconditional prompt."""
        return torch.tensor([self.frame(self.pieces(text)) for text in texts])


def unknown_words(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    """Return the words of `text` for which a tokenizer has no piece that is longer than one symbol, although they are:
    they become [UNK], or are spelled. A single symbol with a piece of its own is known."""
    encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    words: dict[int, list[int]] = {}
    for place, word in enumerate(encoding.word_ids):
        words.setdefault(-1 - place if word is None else word, []).append(place)
    unknown = []
    for places in words.values():
        pieces = [encoding.tokens[place].removeprefix("##").removesuffix("</w>") for place in places]
        if UNKNOWN in pieces or (len(pieces) > 1 and all(len(piece) == 1 for piece in pieces)):
            unknown.append(text[encoding.offsets[places[0]][0] : encoding.offsets[places[-1]][1]])
    return list(dict.fromkeys(unknown))


def set_max_length(folder: Path, max_length: int) -> None:
    """Write the longest text of a saved tokenizer into its settings."""
    settings = folder / "tokenizer_config.json"
    content = json.loads(settings.read_text(encoding="utf-8")) | {"model_max_length": max_length}
    content.pop("backend", None)  # of transformers 5 only
    settings.write_text(json.dumps(content, indent=2), encoding="utf-8")


def whole_words(texts: Iterable[str]) -> list[str]:
    """Return a vocabulary for `texts`: the special tokens, every symbol at the start and inside of a word (so that any
    text of these symbols can be tokenized), and every word as one piece."""
    words: set[str] = set()
    splitter = BertTokenizer(vocab={UNKNOWN: 0}).backend_tokenizer
    for text in texts:
        normal = splitter.normalizer.normalize_str(text)
        words.update(word for word, _ in splitter.pre_tokenizer.pre_tokenize_str(normal))
    symbols = sorted(
        {symbol for word in words for symbol in word} | set("abcdefghijklmnopqrstuvwxyz0123456789*.,'!?-&")
    )
    pieces = symbols + [f"##{symbol}" for symbol in symbols if symbol.isalnum()] + sorted(words)
    return ["[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(pieces)]


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int, dim_head: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, heads * dim_head, bias=False) for _ in range(3))
        self.to_out = nn.Linear(heads * dim_head, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.to_out(attend(self.to_q(x), self.to_k(x), self.to_v(x), self.heads))


class _FeedForward(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU())
        self.net = nn.Sequential(hidden, nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class _Residual(nn.ModuleList):
    """A list (LayerNorm, block) that computes x + block(norm(x))."""

    def forward(self, x: Tensor) -> Tensor:
        norm, block = self
        return x + block(norm(x))


class _Layers(nn.Module):
    """Alternating attention and feed-forward blocks, each with a LayerNorm before it and a residual."""

    def __init__(self, dim: int, depth: int, heads: int, dim_head: int) -> None:
        super().__init__()
        blocks = [b for _ in range(depth) for b in (_Attention(dim, heads, dim_head), _FeedForward(dim))]
        self.layers = nn.ModuleList([_Residual([nn.LayerNorm(dim), block]) for block in blocks])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class _Positions(nn.Module):
    """Learned position embeddings: one vector per position."""

    def __init__(self, max_length: int, dim: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(max_length, dim)

    def forward(self, length: int) -> Tensor:
        return self.emb.weight[:length]


class TokenEncoder(L.LightningModule):
    """What the text encoders share. The tokenizer reads `vocabulary` when it is first used, so a model can be built and
    its weights loaded without it. Subclasses set `read`, and define `embed` and `encode`."""

    condition_key, unconditional = "caption", ""
    read: Callable[[str | Path, int], Tokenizer]
    vocabulary: str | Path
    vocab_size: int
    max_length: int
    embed: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        tokenizer = type(self).read(self.vocabulary, self.max_length)
        if tokenizer.vocab_size != self.vocab_size:
            raise UserError(
                f"{self.vocabulary} has {tokenizer.vocab_size} word pieces, but the model has {self.vocab_size} "
                f"embeddings."
            )
        return tokenizer

    def tokenize(self, texts: Iterable[str]) -> Tensor:
        """Tokenize b texts to ids [b, max_length]."""
        return self.tokenizer(texts)

    def forward(self, texts: Iterable[str]) -> Tensor:
        return self.encode(self.embed(self.tokenize(texts).to(self.device)))


class BERTTextEncoder(TokenEncoder):
    """Texts -> c [b, max_length, width]: a pre-norm transformer with learned positions and, as published, 8 heads of 64
    channels. `vocabulary` is the file of word pieces."""

    read = WordPiece

    def __init__(
        self,
        vocabulary: str | Path,
        vocab_size: int = 30522,
        width: int = 1280,
        depth: int = 32,
        max_length: int = 77,
        heads: int = 8,
        dim_head: int = 64,
    ) -> None:
        super().__init__()
        self.vocabulary, self.vocab_size, self.width, self.max_length = vocabulary, vocab_size, width, max_length
        token_emb, pos_emb = nn.Embedding(vocab_size, width), _Positions(max_length, width)
        self.transformer = nn.ModuleDict(
            {
                "token_emb": token_emb,
                "pos_emb": pos_emb,
                "attn_layers": _Layers(width, depth, heads, dim_head),
                "norm": nn.LayerNorm(width),
                # In the checkpoint, but unused after pre-training. DDP refuses trainable weights that no loss reaches.
                "to_logits": nn.Linear(width, vocab_size).requires_grad_(False),
            }
        )
        # Language models use 0.02. Such small embeddings are drowned out by the outputs of the layers, and the weak
        # gradient of a denoiser does not separate them again: "cat" and "dog" then change c by only a few percent.
        nn.init.normal_(token_emb.weight, std=1.0)
        nn.init.normal_(pos_emb.emb.weight, std=0.3)

    def embed(self, ids: Tensor) -> Tensor:
        """Look up the token embeddings [b, n, width] of ids [b, n], without position embeddings."""
        return self.transformer["token_emb"](ids)

    def encode(self, embeddings: Tensor) -> Tensor:
        """Encode token embeddings [b, n, width] to c [b, n, width]."""
        positions = self.transformer["pos_emb"](embeddings.shape[1])
        return self.transformer["norm"](self.transformer["attn_layers"](embeddings + positions))
