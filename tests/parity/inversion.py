"""Checks of textual inversion itself: placeholders in prompts, the regularisation, and training steps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ldm.modules.autoencoder import AutoencoderKL
from ldm.modules.clip_text import CLIPTextEncoder
from ldm.modules.text import BERTTextEncoder
from ldm.schedule import elbo_weights
from tests.parity.case import Case
from tests.parity.diffusion import PUBLISHED, model_of
from tests.parity.networks import text_encoder_of
from textual_inversion.embedding_manager import (
    EmbeddingManager,
    active_vectors,
    published_clip_start,
    published_expansion,
)
from textual_inversion.regularization import published_coarse_loss

TextEncoder = BERTTextEncoder | CLIPTextEncoder


class Tokens:
    """As much of a tokenizer as a manager of ids needs."""

    def __init__(self, vocab_size: int, max_length: int) -> None:
        self.vocab_size, self.max_length, self.pad_id = vocab_size, max_length, 0


class Placeholders:
    """The manager of a case, and its placeholders as the original finds them: tokens of the vocabulary."""

    def __init__(self, case: Case, words: dict[str, int], vocab_size: int) -> None:
        self.given = case.ctor["manager"]
        self.names: list[str] = self.given["placeholder_strings"]
        self.tokens = [words[name] for name in self.names]
        self.initializers = [words[name] for name in self.given["initializer_words"]]
        vectors = {name: case.input(f"vector.{name}") for name in self.names}
        self.manager = EmbeddingManager(Tokens(vocab_size, 77), vectors)
        self.vocab_size, self.counts = vocab_size, [len(v) for v in vectors.values()]

    def expand(self, ids: Tensor, counter: int = 0) -> Tensor:
        """`counter` is the original's before the call: it counts one up for every placeholder."""
        own, start = {}, self.vocab_size
        for i, (token, count) in enumerate(zip(self.tokens, self.counts, strict=True)):
            thresholds = [2000 * (j + 1) for j in range(count - 1)] if self.given["progressive_words"] else []
            active = active_vectors(counter + i + 1, count, thresholds)
            own[token] = range(start, start + active)
            start += count
        return published_expansion(ids, own)

    def as_tokens(self, ids: Tensor) -> Tensor:
        """Every id of ours as the placeholder's token: how the original leaves its ids behind."""
        token_of = torch.tensor([t for t, n in zip(self.tokens, self.counts, strict=True) for _ in range(n)])
        own = ids - self.vocab_size
        return torch.where(own < 0, ids, token_of[own.clamp(min=0)])

    def conditioning(self, text: TextEncoder, ids: Tensor, counter: int = 0) -> Tensor:
        return text.encode(self.manager.embed(self.expand(ids, counter), text.embed))


def _initial(text: TextEncoder, placeholders: Placeholders) -> dict[str, Tensor]:
    rows = zip(placeholders.names, placeholders.initializers, placeholders.counts, strict=True)
    return {name: text.embed(torch.tensor([word])).expand(count, -1) for name, word, count in rows}


def manager(case: Case) -> None:
    bert = case.ctor["bert"]
    text = text_encoder_of(bert)
    case.loaded(text.transformer)
    placeholders, ids = Placeholders(case, bert["words"], bert["vocab_size"]), case.input("ids")
    several = placeholders.counts[0] > 1
    for counter in case.ctor["counters"]:
        suffix = f".counter_{counter}" if len(case.ctor["counters"]) > 1 else ""
        expanded = placeholders.expand(ids, counter)
        embedded = placeholders.manager.embed(expanded, text.embed)
        after = counter + len(placeholders.names) if several and placeholders.given["progressive_words"] else None
        case.check(
            **{
                f"embedded_text{suffix}": embedded,
                f"transformer{suffix}": text.encode(embedded),
                f"ids_after{suffix}": placeholders.as_tokens(expanded),
            }
        )
        if after is not None:
            case.check(**{f"counter_after{suffix}": torch.tensor(after)})
    initial = _initial(text, placeholders)
    case.check(**{f"initial_vector.{name}": vectors for name, vectors in initial.items()})
    tokens = zip(placeholders.names, placeholders.tokens, strict=True)
    case.check(**{f"token_of.{name}": torch.tensor(token) for name, token in tokens})


def coarse_loss(case: Case) -> None:
    bert = case.ctor["bert"]
    text = text_encoder_of(bert)
    case.loaded(text.transformer)
    placeholders = Placeholders(case, bert["words"], bert["vocab_size"])
    initial = _initial(text, placeholders)
    vectors = list(placeholders.manager.vectors)
    with torch.enable_grad():
        matrix = published_coarse_loss(vectors, [v.detach() for v in initial.values()])
        gradients = torch.autograd.grad(matrix.mean(), vectors)
    case.check(coarse_loss_matrix=matrix, coarse_loss_mean=matrix.mean())
    case.check(norms_squared=torch.cat(vectors).square().sum(dim=1))
    for name, gradient in zip(placeholders.names, gradients, strict=True):
        case.check(**{f"grad_of_mean.{name}": gradient, f"initial_vector.{name}": initial[name]})


def conditioning(case: Case) -> None:
    bert = case.ctor["bert"]
    text = text_encoder_of(bert)
    text.load_state_dict(case.weights("cond_stage_model."))
    placeholders = Placeholders(case, bert["words"], bert["vocab_size"])
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
    placeholders = Placeholders(case, case.ctor["words"], sizes["vocab_size"])
    expanded = placeholders.expand(ids)
    case.check(plain=text.encode(text.embed(ids)), ids_after=placeholders.as_tokens(expanded))
    case.check(with_manager=placeholders.conditioning(text, ids))
    for name, vectors in _initial(text, placeholders).items():
        case.check(**{f"initial_vector.{name}": published_clip_start(text, vectors)})


def training(case: Case) -> None:
    """Steps of AdamW with torch's defaults, weight decay included, on v* (and, unfrozen, on the model)."""
    given, bert = case.ctor, case.ctor["bert"]
    model = model_of(given, AutoencoderKL(32, (1,))).eval()
    model.load_state_dict(case.weights(), strict=False)
    placeholders = Placeholders(case, bert["words"], bert["vocab_size"])
    vectors = list(placeholders.manager.vectors)
    start = [v.detach() for v in _initial(model.cond_stage_model, placeholders).values()]
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
            penalty = published_coarse_loss(vectors, start).mean() * given.get("embedding_reg_weight", 0.0)
            loss = losses.mean() + penalty
            loss.backward()
        bound = (elbo_weights(PUBLISHED)[t] * losses).mean()
        case.check(**{f"step_{k}.loss": loss, f"step_{k}.dict.train/loss_simple": losses.mean()})
        case.check(**{f"step_{k}.dict.train/loss_vlb": bound})
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
