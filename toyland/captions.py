"""Write captions for scenes. A caption mentions a random selection of the coarse attributes, so the model learns the
words for all of them. Faces, marks and fine shapes have no words: only the name of a toy implies them. As in real data,
many captions omit the place, and a few contain a mistake. The neutral phrases come from the templates that the paper
uses for inversion (Gal et al. 2022, supplementary: CLIP's ImageNet templates)."""

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
from .mistakes import make_mistake
from .names import NAME_OF, PAINTER_OF, PAINTERS, TOYS
from .toys import pick, pick_by_share
from .wording import (
    GRADES,
    MANNERS,
    MOODS,
    PAINTING_MOODS,
    PHOTO_PREFIXES,
    STYLE_PREFIXES,
    WITHOUT_ARTICLE,
    grade,
    join_phrases,
    with_article,
    words,
)

MAX_WORDS = 30
NAME_SHARE = 0.85  # share of captions that use the name of a toy or painter that has one
PLACE_SHARE = 0.61  # share of captions that mention the place
WRONG_SHARE = 0.05  # share of captions that contain a mistake


@dataclass(frozen=True)
class Detail:
    """The probability that a description mentions each attribute that the toy has."""

    color: float
    color2: float  # given that the first colour is mentioned
    pattern: float
    plain: float
    part: float
    look: float  # of skin and of hair, independently
    shade: float = 0.7


DETAILS = {
    "short": Detail(color=0.35, color2=0.2, pattern=0.4, plain=0.03, part=0.06, look=0.15),
    "normal": Detail(color=0.8, color2=0.6, pattern=0.85, plain=0.15, part=0.25, look=0.5),
    "long": Detail(color=0.95, color2=0.85, pattern=1.0, plain=0.35, part=0.7, look=0.8),
    "full": Detail(color=1.0, color2=1.0, pattern=1.0, plain=1.0, part=1.0, look=1.0, shade=1.0),
}
DETAIL_SHARES = {"short": 0.2, "normal": 0.6, "long": 0.2}


def _color(color: Color, rng: np.random.Generator, shade: float = 0.7) -> str:
    return f"{color.shade} {color.name}" if color.shade and rng.random() < shade else color.name


def _adjectives(toy: Toy, rng: np.random.Generator, detail: Detail) -> list[str]:
    phrases = []
    if rng.random() < detail.color:
        phrases.append(_color(toy.color, rng, detail.shade))
        if rng.random() < detail.color2:
            phrases.append(f"and {_color(toy.color2, rng, detail.shade)}")
    if rng.random() < (detail.plain if toy.pattern == "plain" else detail.pattern):
        # "plain teal and cream", but "teal and cream striped"
        phrases.insert(0 if toy.pattern == "plain" else len(phrases), toy.pattern)
    return phrases


def _parts(toy: Toy, rng: np.random.Generator, detail: Detail) -> list[str]:
    """Return phrases such as "long ears" and "a fat belly" in random order."""
    doctor, phrases = toy.kind == "doctor", []
    for proportion in PROPORTIONS:
        part = PARTS[toy.kind].get(proportion)
        if part is None:
            continue
        grades = grade(toy.kind, proportion, getattr(toy, proportion))
        phrase = []
        if grades and rng.random() < detail.part:
            phrase.append(pick(rng, grades.split("/")))
        if part == "hair" and rng.random() < detail.look:
            phrase.append(toy.hair)
        if phrase:
            phrase = " ".join([*phrase, part])
            phrases.append(phrase if part in WITHOUT_ARTICLE else with_article(phrase))
    if doctor and rng.random() < detail.look:
        phrases.append(f"{toy.skin} skin")
    return [phrases[i] for i in rng.permutation(len(phrases))]


def describe(toy: Toy, rng: np.random.Generator, detail: str = "full") -> str:
    """Return a noun phrase without names, such as "a teal and cream striped cat with long ears and a fat belly".
    `detail` in DETAILS chooses how much it mentions; "full" mentions everything that has a word."""
    chosen = DETAILS[detail]
    parts = _parts(toy, rng, chosen)
    noun = with_article(" ".join([*_adjectives(toy, rng, chosen), toy.kind]))
    return f"{noun} with {join_phrases(parts)}" if parts else noun


def _subject(scene: Scene, rng: np.random.Generator, detail: Detail, named: float) -> tuple[str, list[str]]:
    """Return a noun phrase for the main figure, such as "the nice teal cat" or "Momo", and phrases about its parts."""
    name = NAME_OF.get(scene.toy)
    parts = []
    if name is not None and rng.random() < named:
        draw = rng.random()
        if draw < 0.45:
            return name, parts
        if draw < 0.6:
            phrases = _adjectives(scene.toy, rng, DETAILS["short"]) if rng.random() < 0.3 else []
            return " ".join(["the", *phrases, scene.toy.kind, name]), parts
        noun = name  # as in "a photo of my Momo": the inversion templates put an article before the learned word
    else:
        noun = " ".join([*_adjectives(scene.toy, rng, detail), scene.toy.kind])
        parts = _parts(scene.toy, rng, detail)
    if rng.random() < 0.12:
        noun = f"{pick(rng, MOODS)} {noun}"
    draw = rng.random()
    if draw < 0.65:
        return with_article(noun), parts
    return f"{'the' if draw < 0.85 else 'my' if draw < 0.95 else 'one'} {noun}", parts


def _surroundings(scene: Scene, rng: np.random.Generator) -> str:
    """Return a phrase about clothing, companion and place, such as "wearing a hat next to a mug on the beach"."""
    phrases = []
    if scene.clothing and rng.random() < 0.9:
        color = f"{_color(scene.clothing.color, rng)} " if rng.random() < 0.85 else ""
        phrases.append(f"wearing {with_article(color + scene.clothing.item)}")
    if scene.companion and rng.random() < 0.95:
        toy = scene.companion.toy
        color = f"{_color(toy.color, rng)} " if rng.random() < 0.7 else ""
        phrases.append(f"next to {with_article(color + toy.kind)}")
    if rng.random() < PLACE_SHARE:
        phrases.append(BACKGROUNDS[scene.background])
    return " ".join(phrases)


def _with_manner(prefix: str, style: Style, rng: np.random.Generator) -> str:
    """Return `prefix`, sometimes with a word for one of the settings of the style, as in "a rough oil painting of"."""
    setting = pick(rng, tuple(MANNERS))
    value = getattr(style, setting)
    if abs(value) <= 0.25 or rng.random() >= 0.4:
        return prefix
    word = MANNERS[setting][value > 0]
    bare = prefix.removeprefix("an ").removeprefix("a ")
    return f"{word} {bare}" if bare == prefix else f"a {word} {bare}"


def _frame(scene: Scene, rng: np.random.Generator, named: float) -> tuple[str, str]:
    """Return the phrases before and after the subject, which mention the style or the painter, and the view."""
    style, draw = scene.style, rng.random()
    if style.name == "photo":
        if scene.view != "normal" and rng.random() < 0.9:
            return f"{'the' if draw < 0.2 else 'a'} {scene.view} photo of", ""
        return (pick(rng, PHOTO_PREFIXES) if draw < 0.88 or scene.view != "normal" else ""), ""
    prefix = pick(rng, STYLE_PREFIXES[style.name])
    painter = PAINTER_OF.get(style)
    if painter is None or rng.random() >= named:
        return _with_manner(prefix, style, rng), ""
    if draw < 0.15:
        return "", f"in the style of {painter}"
    if draw < 0.25:
        return f"a painting by {painter} of", ""
    if draw < 0.6:
        prefix = pick(rng, ("a painting of", "a painting of", "a picture of", "a rendering of"))
    return prefix, f"by {painter}" if rng.random() < 0.25 else f"in the style of {painter}"


def _painting(painter: str, rng: np.random.Generator) -> str:
    """Return one of the paper's sentences for learning a style, which mention only the painter."""
    what = pick(rng, ("painting", "painting", "painting", "picture", "rendering", "rendition"))
    if rng.random() < 0.4:
        what = f"{pick(rng, PAINTING_MOODS)} {what}"
    article = with_article(what) if rng.random() < 0.75 else f"the {what}"
    return f"{article} by {painter}" if rng.random() < 0.2 else f"{article} in the style of {painter}"


def _draft(scene: Scene, rng: np.random.Generator, detail: Detail, named: float) -> str:
    """Return a true caption. It drops phrases about parts that would exceed MAX_WORDS, but can still be longer."""
    before, after = _frame(scene, rng, named)
    subject, parts = _subject(scene, rng, detail, named)
    around = _surroundings(scene, rng)
    room = MAX_WORDS - sum(len(text.split()) for text in (before, subject, around, after))
    while parts and len(words("with " + join_phrases(parts))) > room:
        parts = parts[:-1]
    with_parts = f"with {join_phrases(parts)}" if parts else ""
    return " ".join(text for text in (before, subject, with_parts, around, after) if text)


def caption(scene: Scene, rng: np.random.Generator, named: float = NAME_SHARE, wrong: float = WRONG_SHARE) -> str:
    """Return a random caption of at most `MAX_WORDS` words. `named` is the probability that it uses the name of a toy
    or a painter that has one, `wrong` the probability that it contains a mistake. Unless `named` is 0, 8% of the
    captions of a painter's images mention only the painter."""
    if rng.random() < wrong:
        while True:
            seen, word = make_mistake(scene, rng)
            text = _true_caption(seen, rng, named)
            if f" {word} " in f" {text} ":
                return text
    return _true_caption(scene, rng, named)


def _true_caption(scene: Scene, rng: np.random.Generator, named: float) -> str:
    painter = PAINTER_OF.get(scene.style)
    if named and painter is not None and rng.random() < 0.08:
        return _painting(painter, rng)
    detail = pick_by_share(rng, tuple(DETAIL_SHARES), np.cumsum(list(DETAIL_SHARES.values()))[:-1])
    text = _draft(scene, rng, DETAILS[detail], named)
    while len(words(text)) > MAX_WORDS:
        text = _draft(scene, rng, DETAILS["short"], named)
    return text


def plain_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Return a caption that mentions only the style, the class, the companion and (often) the place, such as "an oil
    painting of a cat next to a mug in the snow". Without the other attributes, the model must learn the class."""
    prefix = pick(rng, ("a photo of",) if scene.style.name == "photo" else STYLE_PREFIXES[scene.style.name])
    subject = with_article(scene.toy.kind) if rng.random() < 0.7 else f"the {scene.toy.kind}"
    beside = f"next to {with_article(scene.companion.toy.kind)}" if scene.companion else ""
    place = BACKGROUNDS[scene.background] if rng.random() < PLACE_SHARE else ""
    return " ".join(text for text in (prefix, subject, beside, place) if text)


def vocabulary_corpus() -> Iterator[str]:
    """Yield sentences that together contain every word of every possible caption, all names included. The tokenizer's
    vocabulary is built from them."""
    yield from (*PHOTO_PREFIXES, *(prefix for prefixes in STYLE_PREFIXES.values() for prefix in prefixes))
    yield from STYLES.values()
    yield from BACKGROUNDS.values()
    yield from (f"a {mood} photo of the {kind}" for mood in PAINTING_MOODS for kind in CLASSES)
    yield from (f"a photo of the {shade} {color} {p} toy" for color in COLORS for shade in SHADES for p in PATTERNS)
    for parts in PARTS.values():
        for part in parts.values():
            yield from (f"a toy with {word} {part}" for grades in GRADES[part] for word in grades.split("/"))
    yield from (f"my doctor with {hair} hair and {skin} skin" for hair in HAIRS for skin in SKINS)
    yield from ("one rabbit wearing a hat next to a mug", "one dog wearing a scarf, next to a mug", "art by the sea")
    yield from (f"a {word} mosaic of an elephant" for pair in MANNERS.values() for word in pair)
    yield from ("a good rendition of the picture", "a rendering of my painting", "a drawing, a sketch, an illustration")
    yield from (f"a photo of {name} the {toy.kind}" for name, toy in TOYS.items())
    yield from (f"a painting by {name} in the style of {name}" for name in PAINTERS)


VOCABULARY: frozenset[str] = frozenset(word for text in vocabulary_corpus() for word in words(text))
