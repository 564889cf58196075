"""The words of the captions: for parts by their grade, for styles and their settings."""

import re

import numpy as np

from .attributes import PARTS

# What people call each part when it is tiny, small, big, huge; "a/b" are synonyms.
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
TREE_TRUNK = GRADES["stem"]  # an elephant's trunk is short or long, a tree's thin or thick
PLURAL = frozenset("ears arms eyes wings fins wheels hair".split())  # said without an article

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
# The templates' adjectives; no picture shows them.
MOODS = tuple("nice clean dirty cool weird large small".split())
PAINTING_MOODS = (*MOODS, "good", "cropped", "dark", "bright", "close-up")
# Settings of a style: what people say of a low and of a high value.
MANNERS = {"palette": ("cold", "warm"), "stroke": ("fine", "coarse"), "grain": ("smooth", "rough")}
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*|[^\sa-z]")


def words(text: str) -> list[str]:
    """The words of a text in lower case: a hyphenated word is one word, each punctuation mark is one word."""
    return _WORD.findall(text.lower())


def with_article(noun: str) -> str:
    """Such as "a cat", "an owl"."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def join(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def grade(kind: str, proportion: str, value: float) -> str | None:
    """The words for a proportion of a class ("long/big" are synonyms), None if it is about usual or has no effect."""
    part = PARTS[kind].get(proportion)
    if part is None or abs(value) <= 0.25:
        return None
    grades = TREE_TRUNK if (kind, part) == ("tree", "trunk") else GRADES[part]
    return grades[int(np.searchsorted((-0.65, 0.0, 0.65), value))]
