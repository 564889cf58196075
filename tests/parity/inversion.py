"""Checks of textual inversion: placeholders in prompts, the regularisation, and training steps."""

from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from ldm.modules.autoencoder import AutoencoderKL
from ldm.modules.clip_text import BytePairs, CLIPTextEncoder
from ldm.modules.text import BERTTextEncoder, WordPiece
from tests.parity import published
from tests.parity.case import Case
from tests.parity.diffusion import PUBLISHED, model_of
from tests.parity.networks import text_encoder_of
from textual_inversion.embedding_manager import EmbeddingManager
from textual_inversion.setups import PAPER, Progressive, RegularizedPublished

TextEncoder = BERTTextEncoder | CLIPTextEncoder


class _Words:
    """A tokenizer of known words without a file: "w7" is the word with id 7. It frames as the product's own do."""

    def __init__(self, words: Mapping[str, int], vocab_size: int, first: int, last: int, pad: int) -> None:
        self.words = {f"w{i}": i for i in range(vocab_size)} | words
        self.vocab_size, self.max_length, self.pad_id = vocab_size, 77, pad
        self.cls_id = self.start_id = first
        self.sep_id = self.end_id = last

    def pieces(self, text: str) -> list[int]:
        return [self.words[word] for word in text.split()]

    def text(self, row: Sequence[int]) -> str:
        """Return the text that tokenizes to `row`, a row of ids."""
        names = {i: word for word, i in self.words.items()}
        inner = list(row[1:]) if row[0] == self.cls_id else list(row)
        while inner[-1] in (self.pad_id, self.sep_id):
            inner.pop()
        return " ".join(names[i] for i in inner)


class BertWords(_Words, WordPiece):
    """Frames with [CLS] and [SEP], and pads with zeros."""


class ClipWords(_Words, BytePairs):
    """Pads with the end token."""


class Placeholders:
    """The manager of a case, which finds its placeholders in a text; the original finds tokens of the vocabulary."""

    def __init__(self, case: Case, tokenizer: _Words) -> None:
        self.given, self.tokenizer = case.ctor["manager"], tokenizer
        self.names: list[str] = self.given["placeholder_strings"]
        self.tokens = [tokenizer.words[name] for name in self.names]
        self.initializers = [tokenizer.words[name] for name in self.given["initializer_words"]]
        vectors = {name: case.input(f"vector.{name}") for name in self.names}
        self.manager = EmbeddingManager(tokenizer, vectors)
        self.counts = [len(v) for v in vectors.values()]

    def ids(self, ids: Tensor, counter: int = 0) -> Tensor:
        """The original's ids [b, 77] with those of our manager for v*. `counter` is the original's before the call: it
        counts one up for every placeholder."""
        steps = 10_000
        grows = self.given["progressive_words"]
        setups = [Progressive([2000 * (j + 1) / steps for j in range(k - 1)]) if grows else PAPER for k in self.counts]
        numbers = enumerate(zip(setups, self.counts, strict=True), start=1)
        active = [setup.active(count, counter + i, steps) for i, (setup, count) in numbers]
        own, start = {}, self.tokenizer.vocab_size
        for token, count, some in zip(self.tokens, self.counts, active, strict=True):
            own[token] = range(start, start + some)
            start += count
        theirs = published.expansion(ids, own)
        if (
            len(set(active)) == 1
        ):  # otherwise the original is in the middle of a step; ours adds vectors to all words at once
            for row, expanded in zip(ids.tolist(), theirs, strict=True):
                self._compare(row, sum(len(own.get(token, (token,))) for token in row), expanded, active[0])
        return theirs

    def _compare(self, row: list[int], length: int, expanded: Tensor, active: int) -> None:
        """Our manager gives the same ids for the text of `row`. What does not fit: it refuses to lose a part of v*,
        which the original drops without a word, and keeps the end of the text, which the original moves out."""
        prompt = self.tokenizer.text(row)
        if row[0] != self.tokenizer.cls_id:  # only pieces, without [CLS] and [SEP]
            with pytest.raises(ValueError, match="the placeholder is cut off"):
                self.manager.tokenize([prompt], active)
            return
        (ours,) = self.manager.tokenize([prompt], active)
        whole = length == len(row) or expanded[-1] == self.tokenizer.pad_id
        assert torch.equal(ours[:-1], expanded[:-1])
        assert int(ours[-1]) == (int(expanded[-1]) if whole else self.tokenizer.sep_id)

    def as_tokens(self, ids: Tensor) -> Tensor:
        """Replace our ids by the token of the placeholder, as the original returns them."""
        token_of = torch.tensor([t for t, n in zip(self.tokens, self.counts, strict=True) for _ in range(n)])
        own = ids - self.tokenizer.vocab_size
        return torch.where(own < 0, ids, token_of[own.clamp(min=0)])

    def conditioning(self, text: TextEncoder, ids: Tensor, counter: int = 0) -> Tensor:
        return text.encode(self.manager.embed(self.ids(ids, counter), text.embed))


def placeholders_of(case: Case) -> Placeholders:
    """Checks of a case with the BERT-style encoder."""
    bert = case.ctor["bert"]
    return Placeholders(case, BertWords(bert["words"], bert["vocab_size"], bert["cls_id"], bert["sep_id"], 0))


def _initial(text: TextEncoder, placeholders: Placeholders) -> dict[str, Tensor]:
    rows = zip(placeholders.names, placeholders.initializers, placeholders.counts, strict=True)
    return {name: text.embed(torch.tensor([word])).expand(count, -1) for name, word, count in rows}


def manager(case: Case) -> None:
    bert = case.ctor["bert"]
    text = text_encoder_of(bert)
    case.loaded(text.transformer)
    placeholders, ids = placeholders_of(case), case.input("ids")
    for counter in case.ctor["counters"]:
        suffix = f".counter_{counter}" if len(case.ctor["counters"]) > 1 else ""
        expanded = placeholders.ids(ids, counter)
        embedded = placeholders.manager.embed(expanded, text.embed)
        case.check(
            **{
                f"embedded_text{suffix}": embedded,
                f"transformer{suffix}": text.encode(embedded),
                f"ids_after{suffix}": placeholders.as_tokens(expanded),
            }
        )
    initial = _initial(text, placeholders)
    case.check(**{f"initial_vector.{name}": vectors for name, vectors in initial.items()})
    tokens = zip(placeholders.names, placeholders.tokens, strict=True)
    case.check(**{f"token_of.{name}": torch.tensor(token) for name, token in tokens})


def coarse_loss(case: Case) -> None:
    bert = case.ctor["bert"]
    text = text_encoder_of(bert)
    case.loaded(text.transformer)
    placeholders = placeholders_of(case)
    initial = _initial(text, placeholders)
    vectors = list(placeholders.manager.vectors)
    with torch.enable_grad():
        start = [v.detach() for v in initial.values()]
        penalties = [RegularizedPublished(1.0).penalty(v, s) for v, s in zip(vectors, start, strict=True)]
        penalty = torch.stack(penalties).mean()
        gradients = torch.autograd.grad(penalty, vectors)
    case.check(coarse_loss_matrix=published.coarse_loss(vectors, start), coarse_loss_mean=penalty)
    case.check(norms_squared=torch.cat(vectors).square().sum(dim=1))
    for name, gradient in zip(placeholders.names, gradients, strict=True):
        case.check(**{f"grad_of_mean.{name}": gradient, f"initial_vector.{name}": initial[name]})


def conditioning(case: Case) -> None:
    bert = case.ctor["bert"]
    text = text_encoder_of(bert)
    text.load_state_dict(case.weights("cond_stage_model."))
    placeholders = placeholders_of(case)
    case.check(**{"conditioning.counter_0": placeholders.conditioning(text.eval(), case.input("ids"))})


def clip_text(case: Case) -> None:
    sizes, ids = case.ctor["text_config"], case.input("ids")
    text = case.loaded(
        CLIPTextEncoder(
            "no vocabulary",
            sizes["vocab_size"],
            sizes["hidden_size"],
            sizes["num_hidden_layers"],
            sizes["num_attention_heads"],
            sizes["intermediate_size"],
            case.ctor["max_length"],
        )
    )
    ends = sizes["bos_token_id"], sizes["eos_token_id"], sizes["pad_token_id"]
    placeholders = Placeholders(case, ClipWords(case.ctor["words"], sizes["vocab_size"], *ends))
    expanded = placeholders.ids(ids)
    case.check(plain=text.encode(text.embed(ids)), ids_after=placeholders.as_tokens(expanded))
    case.check(with_manager=placeholders.conditioning(text, ids))
    for name, vectors in _initial(text, placeholders).items():
        case.check(**{f"initial_vector.{name}": published.clip_start(text, vectors)})


def training(case: Case) -> None:
    """Steps of AdamW with torch's defaults, including weight decay, on v* (and on the model, if it is not frozen)."""
    given = case.ctor
    model = model_of(given, AutoencoderKL(32, (1,))).eval()
    model.load_state_dict(case.weights(), strict=False)
    placeholders = placeholders_of(case)
    vectors = list(placeholders.manager.vectors)
    start = [v.detach() for v in _initial(model.cond_stage_model, placeholders).values()]
    weight = given.get("embedding_reg_weight", 0.0)
    groups = [{"params": vectors, "lr": given["train"]["lr"]}]
    unfrozen = given.get("unfreeze_model", False)
    model.requires_grad_(unfrozen)
    if unfrozen:
        trained = [*model.cond_stage_model.parameters(), *model.unet.parameters()]
        groups.append({"params": trained, "lr": given["model_lr"]})
    optimizer = torch.optim.AdamW(groups)
    for k in range(given["train"]["steps"]):
        z_0, t, eps = (case.input(name)[k] for name in ("z", "t", "noise"))
        optimizer.zero_grad()
        with torch.enable_grad():
            c = placeholders.conditioning(model.cond_stage_model, case.input("ids")[k], k * len(vectors))
            losses = model.losses(z_0, c, t, eps)
            setup = RegularizedPublished(weight)
            penalty = torch.stack([setup.penalty(v, s) for v, s in zip(vectors, start, strict=True)]).mean()
            loss = losses.mean() + penalty
            loss.backward()
        bound = (published.elbo_weights(PUBLISHED)[t] * losses).mean()
        case.check(**{f"step_{k}.loss": loss, f"step_{k}.dict.train/loss_simple": losses.mean()})
        case.check(**{f"step_{k}.dict.train/loss_vlb": bound})
        if weight:
            case.check(**{f"step_{k}.dict.train/loss_emb_reg": penalty / weight})
        out = model.unet.out[2].weight
        if unfrozen:
            case.check(**{f"step_{k}.grad_model.out.2.weight": out.grad})
        _check_vectors(case, f"step_{k}.grad", placeholders.names, [v.grad for v in vectors])
        optimizer.step()
        if unfrozen:
            case.check(**{f"step_{k}.after_model.out.2.weight": out})
        _check_vectors(case, f"step_{k}.vector_after", placeholders.names, vectors)


def _check_vectors(case: Case, what: str, names: Sequence[str], values: Sequence[Tensor | None]) -> None:
    for name, value in zip(names, values, strict=True):
        assert value is not None
        case.check(**{f"{what}.{name}": value})
