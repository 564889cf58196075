"""The words of captions: for the sizes of parts, for styles, and for the settings of styles."""

import re

import numpy as np

from .attributes import PARTS

# The words for each part in four grades, from tiny to huge. "a/b" are synonyms.
_LENGTHS = ("tiny", "short", "long", "huge")
_SIZES = ("tiny", "small", "big", "huge")
GRADES = {
    "ears": ("tiny", "small/short", "big/long", "huge"),
    "belly": ("slim", "thin", "round", "fat"),
    "body": ("slim", "narrow", "wide", "fat"),
    "stem": ("slim", "thin", "thick", "fat"),
    "roof": ("flat", "low", "high", "huge"),
    **dict.fromkeys("tail arms trunk nose antenna spout hair".split(), _LENGTHS),
    **dict.fromkeys("head eyes wings fins wheels handle lid cap crown".split(), _SIZES),
}
TREE_TRUNK = GRADES["stem"]  # instead of the words for an elephant's trunk
WITHOUT_ARTICLE = frozenset("ears arms eyes wings fins wheels hair".split())

PHOTO_PREFIXES = (
    *["a photo of"] * 8,
    *["the photo of", "a good photo of", "a cropped photo of", "a picture of", "a rendering of", "a rendition of"],
)
STYLE_PREFIXES = {
    "oil": ("an oil painting of",) * 3 + ("a painting of",),
    "watercolor": ("a watercolor painting of",) * 2 + ("a watercolor of",),
    "pencil": ("a pencil sketch of",) * 2 + ("a pencil drawing of", "a sketch of"),
    "pixel": ("pixel art of",) * 3 + ("a pixel art picture of",),
    "mosaic": ("a mosaic of",),
    "comic": ("a comic drawing of",) * 2 + ("a comic illustration of",),
}
# Adjectives of the paper's templates. They describe nothing that is visible.
MOODS = tuple("nice clean dirty cool weird large small".split())
PAINTING_MOODS = (*MOODS, "good", "cropped", "dark", "bright", "close-up")
# The words for a low and for a high value of each setting of a style.
MANNERS = {"palette": ("cold", "warm"), "stroke": ("fine", "coarse"), "grain": ("smooth", "rough")}
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*|[^\sa-z]")


def words(text: str) -> list[str]:
    """Split a text into lower-case words. A hyphenated word is one word, and so is each punctuation mark."""
    return _WORD.findall(text.lower())


def with_article(noun: str) -> str:
    """Return `noun` with its article, such as "a cat" or "an owl"."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def join_phrases(items: list[str]) -> str:
    """Join phrases, such as "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def grade(kind: str, proportion: str, value: float) -> str | None:
    """Return the word for `value` in [-1, 1] of a proportion of class `kind`, or synonyms such as "big/long". Return
    None if the value is close to 0, the usual one, or if the proportion has no effect on the class."""
    part = PARTS[kind].get(proportion)
    if part is None or abs(value) <= 0.25:
        return None
    grades = TREE_TRUNK if (kind, part) == ("tree", "trunk") else GRADES[part]
    return grades[int(np.searchsorted((-0.65, 0.0, 0.65), value))]
