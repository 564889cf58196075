"""Check prompts and templates before they are used, and encode prompts. A tokenizer reads any text, so a word that the
model does not know, or a learned word that is misspelled, would otherwise silently give images of something else."""

import logging
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import partial
from weakref import WeakKeyDictionary

from ldm.conditioning import TextEncoder, Tokenizer
from ldm.errors import UserError
from ldm.sampling import Condition

from .captions import SLOT, fill
from .embedding_manager import EmbeddingManager, as_pattern
from .weighting import encode_weighted, parse, plain

log = logging.getLogger(__name__)

LIKE_A_PLACEHOLDER = re.compile(r"\bS\*|\bS_\w+|<[^<>\s]+>")  # what learned words are usually called
_named: WeakKeyDictionary[Tokenizer, set[str]] = WeakKeyDictionary()  # texts whose unknown words were named


def check_prompts(
    prompts: Sequence[str], embeddings: EmbeddingManager, strict: bool = False, negative_prompt: str = ""
) -> None:
    """Check prompts for images. Raises UserError for a prompt that mentions a learned word wrongly or not at all, and
    for weights that cannot be read; the negative prompt need not mention one. Warns of words that the model does not
    know, and of learned words that no prompt mentions or that are ordinary words; if `strict` is True, these raise
    UserError as well."""
    for prompt in (*prompts, negative_prompt):
        try:
            prompt.encode()
        except UnicodeEncodeError as error:  # bytes of a command line in another encoding
            raise UserError(f"the prompt {prompt!r} is no text in UTF-8: write it again.") from error
    for prompt in prompts:
        _require_words(prompt, embeddings)
        if embeddings.placeholders and not embeddings.mentions(prompt):
            known = " or ".join(map(repr, embeddings.placeholders))
            raise UserError(
                f"the prompt {prompt!r} does not mention {known}, the learned word: write it into the prompt."
            )
    _require_words(negative_prompt, embeddings)
    texts = [plain(parse(prompt, embeddings)) for prompt in (*prompts, negative_prompt)]
    said = {placeholder for prompt in (*prompts, negative_prompt) for placeholder in embeddings.mentions(prompt)}
    doubts = [f"no prompt mentions the learned word {p!r}" for p in embeddings.placeholders if p not in said]
    doubts += _ordinary(embeddings, said)
    for doubt in doubts:
        if strict:
            raise UserError(f"{doubt}.")
        log.warning("%s", doubt)
    name_unknown(texts, embeddings, strict)


def check_templates(templates: Iterable[str], placeholder: str, embeddings: EmbeddingManager) -> None:
    """Check templates of prompts for images of a learned word. Raises UserError for a template that says the
    placeholder outside of its slot, or whose weights cannot be read. Warns of words that the model does not know."""
    templates = list(templates)
    require_unsaid(templates, placeholder)
    name_unknown([plain(parse(fill(template, placeholder), embeddings)) for template in templates], embeddings)


def check_captions(templates: Iterable[str], placeholder: str, embeddings: EmbeddingManager) -> None:
    """Check templates of captions for learning, in which brackets are plain text. Raises UserError for a template that
    says the placeholder outside of its slot, or that is too long. Warns of words that the model does not know, and of a
    placeholder that is one that it knows."""
    templates = list(templates)
    require_unsaid(templates, placeholder)
    captions = [fill(template, placeholder) for template in templates]
    embeddings.tokenize(captions)
    for doubt in _ordinary(embeddings, {placeholder}):
        log.warning("%s", doubt)
    name_unknown(captions, embeddings)


def require_unsaid(templates: Iterable[str], placeholder: str) -> None:
    """Raise UserError for a template that says the placeholder outside of its slot: the learned word would stand there
    as well."""
    for template in templates:
        if re.search(as_pattern(placeholder), template.replace(SLOT, " ")):
            raise UserError(
                f"the placeholder {placeholder!r} is a word of the template {template!r}: choose a name that is none, "
                f"such as {'<' + placeholder.strip('<>') + '>'!r}."
            )


def _require_words(prompt: str, embeddings: EmbeddingManager) -> None:
    """Raise UserError for a prompt that mentions a learned word wrongly, or one that is not given."""
    said, known = embeddings.mentions(prompt), " or ".join(map(repr, embeddings.placeholders))
    for text in [part for part, learned in embeddings.parts(prompt) if not learned]:
        for placeholder in embeddings.placeholders:
            other = re.search(as_pattern(placeholder), text, re.IGNORECASE)
            if other and placeholder not in said:
                raise UserError(
                    f"the prompt {prompt!r} says {other[0]!r}, the learned word is {placeholder!r}: capitals count."
                )
            if placeholder in text and not placeholder.isalnum():
                raise UserError(
                    f"the prompt {prompt!r} has {placeholder!r} inside of another word: put spaces around it."
                )
        if found := LIKE_A_PLACEHOLDER.search(text):
            given = f"only {known} is given" if known else "no learned word is given"
            raise UserError(
                f"the prompt {prompt!r} mentions {found[0]}, but {given}: add word=<run folder or file>, or leave "
                f"{found[0]} out."
            )


def _ordinary(embeddings: EmbeddingManager, placeholders: Iterable[str]) -> list[str]:
    """Return a sentence for each of the placeholders that is a whole word of the vocabulary."""
    tokenizer = embeddings.tokenizer
    return [
        f"the learned word {p!r} is also a word of the model: prompts can then say only the learned one. A name such "
        f"as '<{p}>' keeps both"
        for p in sorted(placeholders)
        if p.isalpha() and len(tokenizer.pieces(p)) == 1 and not tokenizer.unknown(p)
    ]


def name_unknown(texts: Iterable[str], embeddings: EmbeddingManager, strict: bool = False) -> None:
    """Warn of the words in `texts` that the model does not know, once per text, or raise UserError if `strict`."""
    named = _named.setdefault(embeddings.tokenizer, set())
    first: dict[str, str] = {}  # each unknown word, and the text that says it first
    for text in dict.fromkeys(texts):
        if strict or text not in named:
            named.add(text)
            first |= {word: text for word in embeddings.unknown(text) if word not in first}
    for text in dict.fromkeys(first.values()):
        words = ", ".join(_with_near(word, embeddings.tokenizer) for word, where in first.items() if where == text)
        sentence = f"the model does not know {words} in {text!r}: it cannot show what that says"
        if strict:
            raise UserError(f"{sentence}. Use other words, or strict=false.")
        log.warning("%s", sentence)


def _with_near(word: str, tokenizer: Tokenizer) -> str:
    whole = {tokenizer.word(i) for i in range(tokenizer.vocab_size)}
    near = get_close_matches(word.lower(), sorted(known for known in whole if known.isalpha() and len(known) > 2), n=1)
    return f"{word!r} (near it: {near[0]})" if near else repr(word)


def encode_prompts(text: TextEncoder, prompts: Sequence[str], embeddings: EmbeddingManager) -> Condition:
    """Encode n prompts, with the weights in them, to c, [n, max_length, width] or [n, layers, max_length, width], or to
    a function of the timestep if a word has a mapper; name words that the model does not know."""
    spans = [parse(prompt, embeddings) for prompt in prompts]
    name_unknown(map(plain, spans), embeddings)
    if embeddings.mappers:
        return partial(encode_weighted, text, spans, embeddings)
    return encode_weighted(text, spans, embeddings)
