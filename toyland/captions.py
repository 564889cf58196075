"""Write captions for scenes. A caption mentions a random selection of the attributes, so the model learns the words for
all of them. The neutral phrases come from the templates that the paper uses for inversion (Gal et al. 2022,
supplementary: CLIP's ImageNet templates)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .attributes import (
    BACKGROUNDS,
    CLASSES,
    COLORS,
    HAIRS,
    PARTS,
    PATTERNS,
    PROPORTIONS,
    SHADES,
    SKINS,
    STYLES,
    Color,
    Scene,
    Style,
    Toy,
)
from .names import NAME_OF, PAINTER_OF, PAINTERS, TOYS

MAX_WORDS = 30
NAME_SHARE = 0.85  # probability that a caption uses the name of a toy or painter that has one

# The words for each part in four grades, from tiny to huge. "a/b" are synonyms.
_LENGTHS = ("tiny", "short", "long", "huge")
_SIZES = ("tiny", "small", "big", "huge")
_GRADES = {
    "ears": ("tiny", "small/short", "big/long", "huge"),
    "belly": ("slim", "thin", "round", "fat"),
    "body": ("slim", "narrow", "wide", "fat"),
    "stem": ("slim", "thin", "thick", "fat"),
    "roof": ("flat", "low", "high", "huge"),
    **dict.fromkeys("tail arms trunk nose antenna spout hair".split(), _LENGTHS),
    **dict.fromkeys("head eyes wings fins wheels handle lid cap crown".split(), _SIZES),
}
_TREE_TRUNK = _GRADES["stem"]  # an elephant's trunk is short or long, a tree's is thin or thick
_PLURAL = frozenset("ears arms eyes wings fins wheels hair".split())  # used without an article

_PHOTO_PREFIXES = (
    *["a photo of"] * 8,
    *["the photo of", "a good photo of", "a cropped photo of", "a picture of", "a rendering of", "a rendition of"],
)
_STYLE_PREFIXES = {
    "oil": ("an oil painting of",) * 3 + ("a painting of",),
    "watercolor": ("a watercolor painting of",) * 2 + ("a watercolor of",),
    "pencil": ("a pencil sketch of",) * 2 + ("a pencil drawing of", "a sketch of"),
    "pixel": ("pixel art of",) * 3 + ("a pixel art picture of",),
    "mosaic": ("a mosaic of",),
    "comic": ("a comic drawing of",) * 2 + ("a comic illustration of",),
}
# Adjectives of the paper's templates. They describe nothing that is visible.
_MOODS = tuple("nice clean dirty cool weird large small".split())
_PAINTING_MOODS = (*_MOODS, "good", "cropped", "dark", "bright", "close-up")
# The words for a low and for a high value of each setting of a style.
_MANNERS = {"palette": ("cold", "warm"), "stroke": ("fine", "coarse"), "grain": ("smooth", "rough")}
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*|[^\sa-z]")


@dataclass(frozen=True)
class Detail:
    """The probability that a description mentions each attribute that the toy has."""

    color: float
    color2: float  # given that the first colour is mentioned
    pattern: float
    plain: float
    part: float
    look: float
    shade: float = 0.7


DETAILS = {
    "short": Detail(color=0.35, color2=0.2, pattern=0.4, plain=0.03, part=0.06, look=0.1),
    "normal": Detail(color=0.8, color2=0.6, pattern=0.85, plain=0.15, part=0.25, look=0.3),
    "long": Detail(color=0.95, color2=0.85, pattern=1.0, plain=0.35, part=0.7, look=0.6),
    "full": Detail(color=1.0, color2=1.0, pattern=1.0, plain=1.0, part=1.0, look=1.0, shade=1.0),
}
_DETAIL_SHARES = (("short", 0.2), ("normal", 0.6), ("long", 0.2))


def words(text: str) -> list[str]:
    """Split a text into lower-case words. A hyphenated word is one word, and so is each punctuation mark."""
    return _WORD.findall(text.lower())


def _pick(rng: np.random.Generator, options):
    return options[rng.integers(len(options))]


def with_article(noun: str) -> str:
    """Return `noun` with its article, such as "a cat" or "an owl"."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def _join(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def grade(kind: str, proportion: str, value: float) -> str | None:
    """Return the word for `value` in [-1, 1] of a proportion of class `kind`, or synonyms such as "big/long". Return
    None if the value is about usual, or if the proportion has no effect on the class."""
    part = PARTS[kind].get(proportion)
    if part is None or abs(value) <= 0.25:
        return None
    grades = _TREE_TRUNK if (kind, part) == ("tree", "trunk") else _GRADES[part]
    return grades[int(np.searchsorted((-0.65, 0.0, 0.65), value))]


def _color(color: Color, rng: np.random.Generator, shade: float = 0.7) -> str:
    return f"{color.shade} {color.name}" if color.shade and rng.random() < shade else color.name


def _adjectives(toy: Toy, rng: np.random.Generator, detail: Detail) -> list[str]:
    said = []
    if rng.random() < detail.color:
        said.append(_color(toy.color, rng, detail.shade))
        if rng.random() < detail.color2:
            said.append(f"and {_color(toy.color2, rng, detail.shade)}")
    if rng.random() < (detail.plain if toy.pattern == "plain" else detail.pattern):
        # "plain teal and cream", but "teal and cream striped"
        said.insert(0 if toy.pattern == "plain" else len(said), toy.pattern)
    return said


def _parts(toy: Toy, rng: np.random.Generator, detail: Detail) -> list[str]:
    """Return phrases such as "long ears" and "a fat belly" in random order."""
    look = toy.kind == "doctor" and rng.random() < detail.look
    said = []
    for proportion in PROPORTIONS:
        part = PARTS[toy.kind].get(proportion)
        if part is None:
            continue
        grades = grade(toy.kind, proportion, getattr(toy, proportion))
        phrase = []
        if grades and rng.random() < detail.part:
            phrase.append(_pick(rng, grades.split("/")))
        if part == "hair" and look:
            phrase.append(toy.hair)
        if phrase:
            phrase = " ".join([*phrase, part])
            said.append(phrase if part in _PLURAL else with_article(phrase))
    if look:
        said.append(f"{toy.skin} skin")
    return [said[i] for i in rng.permutation(len(said))]


def describe(toy: Toy, rng: np.random.Generator, detail: str = "full") -> str:
    """Return a noun phrase without names, such as "a teal and cream striped cat with long ears and a fat belly".
    `detail` in DETAILS chooses how much it mentions; "full" mentions everything that has a word."""
    chosen = DETAILS[detail]
    parts = _parts(toy, rng, chosen)
    noun = with_article(" ".join([*_adjectives(toy, rng, chosen), toy.kind]))
    return f"{noun} with {_join(parts)}" if parts else noun


def _subject(scene: Scene, rng: np.random.Generator, detail: Detail, named: float) -> tuple[str, list[str]]:
    """Return a noun phrase for the main figure, such as "the nice teal cat" or "Momo", and phrases about its parts."""
    name = NAME_OF.get(scene.toy)
    parts = []
    if name is not None and rng.random() < named:
        draw = rng.random()
        if draw < 0.45:
            return name, parts
        if draw < 0.6:
            said = _adjectives(scene.toy, rng, DETAILS["short"]) if rng.random() < 0.3 else []
            return " ".join(["the", *said, scene.toy.kind, name]), parts
        noun = name  # as in "a photo of my Momo": the inversion templates put an article before the learned word
    else:
        noun = " ".join([*_adjectives(scene.toy, rng, detail), scene.toy.kind])
        parts = _parts(scene.toy, rng, detail)
    if rng.random() < 0.12:
        noun = f"{_pick(rng, _MOODS)} {noun}"
    draw = rng.random()
    if draw < 0.65:
        return with_article(noun), parts
    return f"{'the' if draw < 0.85 else 'my' if draw < 0.95 else 'one'} {noun}", parts


def _surroundings(scene: Scene, rng: np.random.Generator) -> str:
    said = []
    if scene.clothing and rng.random() < 0.9:
        color = f"{_color(scene.clothing.color, rng)} " if rng.random() < 0.85 else ""
        said.append(f"wearing {with_article(color + scene.clothing.item)}")
    if scene.companion and rng.random() < 0.95:
        toy = scene.companion.toy
        color = f"{_color(toy.color, rng)} " if rng.random() < 0.7 else ""
        said.append(f"next to {with_article(color + toy.kind)}")
    if rng.random() < 0.85:
        said.append(BACKGROUNDS[scene.background])
    return " ".join(said)


def _with_manner(prefix: str, style: Style, rng: np.random.Generator) -> str:
    """Return `prefix`, sometimes with a word for one of the settings of the style, as in "a rough oil painting of"."""
    setting = _pick(rng, tuple(_MANNERS))
    value = getattr(style, setting)
    if abs(value) <= 0.25 or rng.random() >= 0.4:
        return prefix
    word = _MANNERS[setting][value > 0]
    bare = prefix.removeprefix("an ").removeprefix("a ")
    return f"{word} {bare}" if bare == prefix else f"a {word} {bare}"


def _frame(scene: Scene, rng: np.random.Generator, named: float) -> tuple[str, str]:
    """Return the phrases before and after the subject, which mention the style or the painter, and the view."""
    style, draw = scene.style, rng.random()
    if style.name == "photo":
        if scene.view != "normal" and rng.random() < 0.9:
            return f"{'the' if draw < 0.2 else 'a'} {scene.view} photo of", ""
        return (_pick(rng, _PHOTO_PREFIXES) if draw < 0.88 or scene.view != "normal" else ""), ""
    prefix = _pick(rng, _STYLE_PREFIXES[style.name])
    painter = PAINTER_OF.get(style)
    if painter is None or rng.random() >= named:
        return _with_manner(prefix, style, rng), ""
    if draw < 0.15:
        return "", f"in the style of {painter}"
    if draw < 0.25:
        return f"a painting by {painter} of", ""
    if draw < 0.6:
        prefix = _pick(rng, ("a painting of", "a painting of", "a picture of", "a rendering of"))
    return prefix, f"by {painter}" if rng.random() < 0.25 else f"in the style of {painter}"


def _painting(painter: str, rng: np.random.Generator) -> str:
    """Return one of the paper's sentences for learning a style, which mention only the painter."""
    what = _pick(rng, ("painting", "painting", "painting", "picture", "rendering", "rendition"))
    if rng.random() < 0.4:
        what = f"{_pick(rng, _PAINTING_MOODS)} {what}"
    article = with_article(what) if rng.random() < 0.75 else f"the {what}"
    return f"{article} by {painter}" if rng.random() < 0.2 else f"{article} in the style of {painter}"


def _draft(scene: Scene, rng: np.random.Generator, detail: Detail, named: float) -> str:
    before, after = _frame(scene, rng, named)
    subject, parts = _subject(scene, rng, detail, named)
    around = _surroundings(scene, rng)
    room = MAX_WORDS - sum(len(text.split()) for text in (before, subject, around, after))
    while parts and len(words("with " + _join(parts))) > room:
        parts = parts[:-1]
    with_parts = f"with {_join(parts)}" if parts else ""
    return " ".join(text for text in (before, subject, with_parts, around, after) if text)


def caption(scene: Scene, rng: np.random.Generator, named: float = NAME_SHARE) -> str:
    """Return a random caption of at most `MAX_WORDS` words. `named` is the probability that it uses the name of a toy
    or a painter that has one."""
    painter = PAINTER_OF.get(scene.style)
    if named and painter is not None and rng.random() < 0.08:
        return _painting(painter, rng)
    detail = _DETAIL_SHARES[int(np.searchsorted(np.cumsum([s for _, s in _DETAIL_SHARES])[:-1], rng.random()))][0]
    text = _draft(scene, rng, DETAILS[detail], named)
    while len(words(text)) > MAX_WORDS:
        text = _draft(scene, rng, DETAILS["short"], named)
    return text


def plain_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Return a caption that mentions only the style, the class, the companion and (usually) the place, such as "an oil
    painting of a cat next to a mug in the snow". Without the other attributes, the model must learn the class."""
    prefix = _pick(rng, ("a photo of",) if scene.style.name == "photo" else _STYLE_PREFIXES[scene.style.name])
    subject = with_article(scene.toy.kind) if rng.random() < 0.7 else f"the {scene.toy.kind}"
    beside = f"next to {with_article(scene.companion.toy.kind)}" if scene.companion else ""
    place = BACKGROUNDS[scene.background] if rng.random() < 0.8 else ""
    return " ".join(text for text in (prefix, subject, beside, place) if text)


def vocabulary_corpus() -> Iterator[str]:
    """Yield sentences that together contain every word of every possible caption, all names included. A tokenizer's
    vocabulary can be built from them."""
    yield from (*_PHOTO_PREFIXES, *(prefix for prefixes in _STYLE_PREFIXES.values() for prefix in prefixes))
    yield from STYLES.values()
    yield from BACKGROUNDS.values()
    yield from (f"a {mood} photo of the {kind}" for mood in _PAINTING_MOODS for kind in CLASSES)
    yield from (f"a photo of the {shade} {color} {p} toy" for color in COLORS for shade in SHADES for p in PATTERNS)
    for parts in PARTS.values():
        for part in parts.values():
            yield from (f"a toy with {word} {part}" for grades in _GRADES[part] for word in grades.split("/"))
    yield " ".join(word for grades in (*_GRADES.values(), _TREE_TRUNK) for g in grades for word in g.split("/"))
    yield from (f"my doctor with {hair} hair and {skin} skin" for hair in HAIRS for skin in SKINS)
    yield from ("one rabbit wearing a hat next to a mug", "one dog wearing a scarf, next to a mug", "art by the sea")
    yield from (f"a {word} mosaic of an elephant" for pair in _MANNERS.values() for word in pair)
    yield from ("a good rendition of the picture", "a rendering of my painting", "a drawing, a sketch, an illustration")
    yield from (f"a photo of {name} the {toy.kind}" for name, toy in TOYS.items())
    yield from (f"a painting by {name} in the style of {name}" for name in PAINTERS)


VOCABULARY: frozenset[str] = frozenset(word for text in vocabulary_corpus() for word in words(text))
