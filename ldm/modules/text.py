"""The text side of the model in three public steps, tokenize -> embed -> encode, so that a learned word can be put
between the first two and the third. The encoder is the BERT-style transformer that was trained with the 1.4B model."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytorch_lightning as L
import torch
from torch import Tensor, nn
from transformers import BertTokenizer

from .attention import attend

UNKNOWN = "[UNK]"


class WordPiece:
    """Lower-casing WordPiece of bert-base-uncased: text -> [CLS] pieces [SEP], cut or padded with 0 to `max_length`.
    There is no attention mask: the published model attends to the padding, too."""

    def __init__(self, vocabulary: str | Path, max_length: int) -> None:
        path = Path(vocabulary)
        if not path.is_file():
            raise ValueError(f"no vocabulary at {path}: it should hold one word piece a line, [PAD] first.")
        words = path.read_text(encoding="utf-8").splitlines()
        self.max_length = max_length
        self._tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)}, do_lower_case=True)
        self.words, self.vocab_size = words, len(words)
        self.pad_id, self.cls_id, self.sep_id, self.unknown_id = (
            words.index(special) for special in ("[PAD]", "[CLS]", "[SEP]", UNKNOWN)
        )

    def save(self, folder: Path) -> None:
        """The files that transformers loads this tokenizer from."""
        self._tokenizer.save_pretrained(str(folder))

    def pieces(self, text: str) -> list[int]:
        """Ids of the word pieces of `text`, without [CLS] and [SEP]."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def word(self, index: int) -> str:
        """The word piece with that id."""
        return self.words[index]

    def frame(self, pieces: Sequence[int]) -> list[int]:
        """[CLS] pieces [SEP], cut or padded to `max_length`."""
        ids = [self.cls_id, *pieces[: self.max_length - 2], self.sep_id]
        return ids + [self.pad_id] * (self.max_length - len(ids))

    def __call__(self, texts: Iterable[str]) -> Tensor:
        """n texts -> ids [n, max_length]; the empty text is the unconditional prompt."""
        return torch.tensor([self.frame(self.pieces(text)) for text in texts])


def whole_words(texts: Iterable[str]) -> list[str]:
    """The vocabulary of a small world: special tokens, every symbol of `texts` as a beginning and as a continuation, so
    that any text can be spelt, and every word as one piece."""
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
    """(LayerNorm, block): x + block(norm(x))."""

    def forward(self, x: Tensor) -> Tensor:
        norm, block = self
        return x + block(norm(x))


class _Layers(nn.Module):
    """Attention and feed-forward in turn, each (LayerNorm, block) with a residual."""

    def __init__(self, dim: int, depth: int, heads: int, dim_head: int) -> None:
        super().__init__()
        blocks = [b for _ in range(depth) for b in (_Attention(dim, heads, dim_head), _FeedForward(dim))]
        self.layers = nn.ModuleList([_Residual([nn.LayerNorm(dim), block]) for block in blocks])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class _Positions(nn.Module):
    """One learned vector a position."""

    def __init__(self, max_length: int, dim: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(max_length, dim)

    def forward(self, length: int) -> Tensor:
        return self.emb.weight[:length]


class BERTTextEncoder(L.LightningModule):
    """Texts -> c [b, max_length, width]: pre-norm transformer with learned positions, 8 heads of 64 as published.

    `vocabulary` is the file of word pieces; it is opened by the first use of `tokenizer`, so a model can be built,
    counted and loaded without it.
    """

    condition_key, unconditional = "caption", ""

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
                "to_logits": nn.Linear(width, vocab_size),  # in the checkpoint; no use after pre-training
            }
        )
        # Not the 0.02 of language models: beside the layers' outputs such words all look alike, and a denoiser's weak
        # gradient does not part them again ("cat" and "dog" then change c by a few percent).
        nn.init.normal_(token_emb.weight, std=1.0)
        nn.init.normal_(pos_emb.emb.weight, std=0.3)
        self._tokenizer: WordPiece | None = None

    @property
    def tokenizer(self) -> WordPiece:
        if self._tokenizer is None:
            tokenizer = WordPiece(self.vocabulary, self.max_length)
            if tokenizer.vocab_size != self.vocab_size:
                raise ValueError(
                    f"{self.vocabulary} has {tokenizer.vocab_size} word pieces, the model's table {self.vocab_size}."
                )
            self._tokenizer = tokenizer
        return self._tokenizer

    def tokenize(self, texts: Iterable[str]) -> Tensor:
        """b texts -> ids [b, max_length]."""
        return self.tokenizer(texts)

    def embed(self, ids: Tensor) -> Tensor:
        """ids [b, n] -> rows of the token table [b, n, width], before positions."""
        return self.transformer["token_emb"](ids)

    def encode(self, embeddings: Tensor) -> Tensor:
        """Token embeddings [b, n, width] -> c [b, n, width]."""
        positions = self.transformer["pos_emb"](embeddings.shape[1])
        return self.transformer["norm"](self.transformer["attn_layers"](embeddings + positions))

    def forward(self, texts: Iterable[str]) -> Tensor:
        return self.encode(self.embed(self.tokenize(texts).to(self.device)))
