"""Weights of parts of a prompt, in the notation of the AUTOMATIC1111 web UI: (text:1.3), (text) for 1.1, [text] for
1 / 1.1, \\( for a plain parenthesis. Captions for learning are never read in this way.

A weight w moves the condition along what the text adds to the prompt: c = c_without + w (c_with - c_without). So 1
changes nothing, 0 is the prompt without the text, and the model itself says what the text contributes. The web UI
multiplies the rows of c instead. At 0 it leaves what the text encoder has passed on to other rows."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ldm.conditioning import TextEncoder
from ldm.errors import UserError

from .embedding_manager import EmbeddingManager

EMPHASIS = 1.1  # of one pair of parentheses
MOST = 2.0  # beyond it, images fall apart
_TOKEN = re.compile(r"\\[()\[\]\\]|[()\[\]]|[^\\()\[\]]+|\\")
_NUMBER = re.compile(r":\s*([-+.]?\d\S*)\s*$")


class Span(NamedTuple):
    """A part of a prompt and its weight."""

    text: str
    weight: float


def parse(prompt: str, embeddings: EmbeddingManager | None = None) -> list[Span]:
    """Split a prompt into spans; neighbours differ in weight. Placeholders are taken whole, whatever symbols they hold.
    Raises UserError for brackets that do not match, and for weights that are no number from 0 to `MOST`."""
    spans: list[Span] = []
    opened: list[tuple[str, int]] = []  # brackets, and the number of spans before each
    for part, learned in embeddings.parts(prompt) if embeddings else [(prompt, False)]:
        for token in [part] if learned else _TOKEN.findall(part):
            if learned or token not in tuple("()[]"):
                spans.append(Span(token[-1] if len(token) == 2 and token[0] == "\\" and not learned else token, 1.0))
            elif token in "([":
                opened.append((token, len(spans)))
            else:
                bracket, start = opened.pop() if opened else ("", 0)
                if bracket + token not in ("()", "[]"):
                    raise _unmatched(prompt, token)
                spans[start:] = _weigh(prompt, token, spans[start:])
    if opened:
        raise _unmatched(prompt, opened[-1][0])
    for span in spans:
        if not 0 <= span.weight <= MOST:
            raise UserError(f"{span.text!r} has weight {span.weight:g} in the prompt {prompt!r}: use 0 to {MOST:g}.")
    return _merged(spans)


def _weigh(prompt: str, closing: str, inside: list[Span]) -> list[Span]:
    """Return the spans between two brackets with their new weights, without the number at the end."""
    if closing == "]":
        if any(symbol in span.text for span in inside for symbol in ":|"):
            raise UserError(
                f"the prompt {prompt!r} changes during sampling, by : or | in brackets, which is not supported here: "
                f"write it without brackets, or weigh a part as in (cat:0.9)."
            )
        return [span._replace(weight=span.weight / EMPHASIS) for span in inside]
    factor = EMPHASIS
    number = _NUMBER.search(inside[-1].text) if inside else None
    if number:
        try:
            factor = float(number[1])
        except ValueError:
            raise UserError(f"the weight {number[1]!r} in the prompt {prompt!r} is no number.") from None
        inside = [*inside[:-1], inside[-1]._replace(text=inside[-1].text[: number.start()])]
    return [span._replace(weight=span.weight * factor) for span in inside]


def _unmatched(prompt: str, bracket: str) -> UserError:
    return UserError(
        f"the {bracket} in the prompt {prompt!r} has no counterpart: add it, or write \\{bracket} for a plain one."
    )


def _merged(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and merged[-1].weight == span.weight:
            span = Span(merged.pop().text + span.text, span.weight)
        merged.append(span)
    return merged


def plain(spans: Sequence[Span]) -> str:
    """Return the text of the spans, without those of weight 0."""
    return "".join(span.text for span in spans if span.weight)


def escape(text: str) -> str:
    """Return a prompt that is read as `text`, with its brackets as plain symbols."""
    return re.sub(r"([()\[\]\\])", r"\\\1", text)


def encode_weighted(
    text: TextEncoder, spans: Sequence[Sequence[Span]], embeddings: EmbeddingManager, t: Tensor | None = None
) -> Tensor:
    """Encode n prompts, each as its spans, to c, [n, max_length, width] or [n, layers, max_length, width], at the
    timestep t [1] if words depend on it."""
    c = embeddings.encode(text, [plain(each) for each in spans], t)
    return torch.stack([_moved(text, each, row, embeddings, t) for each, row in zip(spans, c, strict=True)])


def _moved(
    text: TextEncoder, spans: Sequence[Span], c: Tensor, embeddings: EmbeddingManager, t: Tensor | None
) -> Tensor:
    """Add (w - 1) (c - c_without) for every span of weight w to the c [.., max_length, width] of the plain prompt."""
    kept = [span for span in spans if span.weight]
    moved = c.float()
    for i, span in enumerate(kept):
        if span.weight != 1.0:
            without = plain([*kept[:i], *kept[i + 1 :]])
            count = max(0, len(embeddings.pieces(plain(kept))) - len(embeddings.pieces(without)))
            (c_without,) = embeddings.encode(text, [without], t).float()
            # Cross-attention does not see the order of rows: rows of padding fill the place of the text, so that all
            # other rows stand where they stand in c.
            length = c.shape[-2]
            place = min(1 + len(embeddings.pieces(plain(kept[:i]))), length - count)
            before, after, padding = c_without.split([place, length - count - place, count], dim=-2)
            moved = moved + (span.weight - 1.0) * (c.float() - torch.cat([before, padding, after], dim=-2))
    return moved.to(c.dtype)
