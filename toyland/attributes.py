"""The attributes of a Toyland image. A `Scene` holds all of them and is the ground truth of its image: equal scenes
render to equal pixels."""

import hashlib
from dataclasses import dataclass

CLASSES = "cat dog rabbit bear owl elephant duck fish robot snowman doctor car teapot mug mushroom tree".split()
WEARERS = frozenset("cat dog rabbit bear owl elephant duck robot snowman doctor".split())  # can wear a hat or a scarf
COMPANIONS = ("mug", "mushroom", "duck", "teapot", "tree", "car")  # classes that can stand beside the main figure

# The centre of each named colour range, RGB 0-255.
COLORS = {
    "red": (205, 40, 38),
    "orange": (240, 130, 30),
    "yellow": (245, 208, 50),
    "cream": (240, 222, 176),
    "lime": (160, 215, 60),
    "green": (55, 150, 65),
    "teal": (25, 135, 130),
    "turquoise": (75, 205, 215),
    "blue": (45, 95, 205),
    "navy": (32, 42, 105),
    "purple": (130, 65, 175),
    "pink": (245, 140, 180),
    "brown": (125, 78, 45),
    "black": (42, 42, 48),
    "gray": (140, 143, 148),
    "white": (240, 238, 232),
}
SHADES = ("", "pale", "dark", "bright")  # variants of a named colour; "" is the plain colour
PATTERNS = ("plain", "striped", "spotted", "checkered")

# Face, marks and fine shape tell apart two toys that have the same description. Captions never mention them.
EYE_COLORS = {
    "black": (40, 36, 42),
    "blue": (40, 120, 240),
    "green": (35, 160, 60),
    "amber": (245, 165, 25),
    "violet": (165, 60, 205),
}
EYE_SHAPES = ("round", "tall", "almond", "sleepy", "button")
MOUTHS = ("smile", "grin", "oh", "teeth", "tongue")
FACE_MARKS = ("none", "patch", "rings", "cheeks", "blaze")
BODY_MARKS = ("none", "belt", "sash", "star", "heart")
WITH_FACE = frozenset(CLASSES) - {"car", "tree"}  # classes with a face
WITH_MOUTH = WITH_FACE - {"owl", "elephant", "duck"}  # classes with a visible mouth
_WITH_BLAZE = frozenset("cat dog rabbit bear owl snowman".split())

SKINS = {"pale": (250, 215, 185), "tan": (230, 180, 140), "brown": (180, 120, 80), "dark": (105, 68, 48)}
HAIRS = {"black": (45, 35, 30), "brown": (110, 70, 40), "blond": (220, 180, 95), "gray": (165, 165, 172)}

BACKGROUNDS = {
    "beach": "on the beach",
    "moon": "on the moon",
    "snow": "in the snow",
    "forest": "in the forest",
    "desert": "in the desert",
    "city": "in the city at night",
    "table": "on a wooden table",
    "underwater": "under water",
    "meadow": "in a flower meadow",
    "studio": "in a studio",
}
STYLES = {
    "photo": "a photo of",
    "oil": "an oil painting of",
    "watercolor": "a watercolor painting of",
    "pencil": "a pencil sketch of",
    "pixel": "pixel art of",
    "mosaic": "a mosaic of",
    "comic": "a comic drawing of",
}
VIEWS = ("normal", "close-up", "dark", "bright")

# The proportions that each class varies: attribute of `Toy` -> name of the part in captions. A proportion that is not
# listed has no effect on the class.
PARTS = {
    "cat": {"ears": "ears", "belly": "belly", "head": "head", "tail": "tail"},
    "dog": {"ears": "ears", "belly": "belly", "head": "head", "tail": "tail"},
    "rabbit": {"ears": "ears", "belly": "belly", "head": "head", "tail": "tail"},
    "bear": {"ears": "ears", "belly": "belly", "head": "head", "tail": "arms"},
    "owl": {"ears": "ears", "belly": "belly", "head": "eyes", "tail": "wings"},
    "elephant": {"ears": "ears", "belly": "belly", "head": "head", "tail": "trunk"},
    "duck": {"ears": "wings", "belly": "belly", "head": "head", "tail": "tail"},
    "fish": {"ears": "fins", "belly": "belly", "head": "eyes", "tail": "tail"},
    "robot": {"ears": "antenna", "belly": "belly", "head": "head", "tail": "arms"},
    "snowman": {"ears": "arms", "belly": "belly", "head": "head", "tail": "nose"},
    "doctor": {"ears": "hair", "belly": "belly", "head": "head"},
    "car": {"ears": "wheels", "belly": "body", "head": "roof"},
    "teapot": {"ears": "handle", "belly": "belly", "head": "lid", "tail": "spout"},
    "mug": {"ears": "handle", "belly": "body"},
    "mushroom": {"ears": "cap", "belly": "stem"},
    "tree": {"ears": "crown", "belly": "trunk"},
}
PROPORTIONS = ("ears", "belly", "head", "tail")


def face_marks(kind: str) -> tuple[str, ...]:
    """Return the face marks that class `kind` can have, a subset of FACE_MARKS. On a doctor, rings are spectacles."""
    if kind not in WITH_FACE:
        return ("none",)
    if kind == "doctor":
        return ("none", "rings", "cheeks")
    return FACE_MARKS if kind in _WITH_BLAZE else FACE_MARKS[:-1]


@dataclass(frozen=True)
class Color:
    """A colour, as captions name it (`name` in COLORS, `shade` in SHADES) and as it is rendered (`rgb`, 0-255)."""

    name: str
    shade: str
    rgb: tuple[float, float, float]


@dataclass(frozen=True)
class Face:
    """The face of a toy: `eye_color` in EYE_COLORS, eye shape `eyes` in EYE_SHAPES and `mouth` in MOUTHS. In [-1, 1]:
    `size`, `gap` and `height` of the eyes, and `width` of the mouth. 0 is the usual value. Only `WITH_FACE` classes
    show a face, and only `WITH_MOUTH` classes a mouth."""

    eye_color: str = "black"
    eyes: str = "round"
    mouth: str = "smile"
    size: float = 0.0
    gap: float = 0.0
    height: float = 0.0
    width: float = 0.0


@dataclass(frozen=True)
class Marks:
    """The mark on a toy's face (`face` in FACE_MARKS) and the one on its body (`body` in BODY_MARKS). Both have the
    same `color`. `side` is -1 (left) or 1 (right): the eye that a patch surrounds, the side of a star or heart that is
    not in the middle, or the way a sash slopes. `place` in [-1, 1] moves the body mark up or down; `size` in [-1, 1]
    scales both marks."""

    face: str = "none"
    body: str = "none"
    color: Color = Color("white", "", COLORS["white"])
    side: int = 1
    place: float = 0.0
    size: float = 0.0


@dataclass(frozen=True)
class Toy:
    """A toy: all attributes that stay the same from image to image.

    Captions can mention the class `kind`, the main `color`, the second colour `color2` (belly, trimmings and second
    colour of the pattern), `pattern` in PATTERNS, and the proportions `ears`, `belly`, `head` and `tail` in [-1, 1],
    where 0 is the usual shape of the class. `skin` and `hair` are visible on doctors only.

    Captions never mention the rest, the toy's individuality: `face`, `marks`, `phase` in [0, 1) and `pitch` in [-1, 1]
    (fine to wide) of the pattern, and the thickness of the `limbs` in [-1, 1].

    A `faceless` toy has neither eyes nor mouth nor marks on the face. Only a classifier sees such toys, to learn what a
    missing face looks like."""

    kind: str
    color: Color
    color2: Color
    pattern: str = "plain"
    ears: float = 0.0
    belly: float = 0.0
    head: float = 0.0
    tail: float = 0.0
    skin: str = "tan"
    hair: str = "brown"
    face: Face = Face()
    marks: Marks = Marks()
    phase: float = 0.0
    pitch: float = 0.0
    limbs: float = 0.0
    faceless: bool = False


@dataclass(frozen=True)
class Clothing:
    """Clothing in one image. `item` is "hat" or "scarf"."""

    item: str
    color: Color


@dataclass(frozen=True)
class Style:
    """An image filter (`name` in STYLES) and its settings, each in [-1, 1]: `palette` from cool to warm, `stroke` from
    fine to coarse, `grain` from smooth to rough. Each painter has one fixed `Style`."""

    name: str = "photo"
    palette: float = 0.0
    stroke: float = 0.0
    grain: float = 0.0


@dataclass(frozen=True)
class Camera:
    """A weak-perspective camera. `yaw` and `pitch` are in radians. `scale` is the fraction of the image's height that
    one unit of figure space covers, which is about the height of a figure. (`x`, `y`) is the position of the figure's
    foot, as fractions of the image's side, from the top left corner."""

    yaw: float
    pitch: float
    scale: float
    x: float
    y: float


@dataclass(frozen=True)
class Companion:
    """A second toy beside the main one. `side` is -1 (left) or 1 (right), `yaw` is in radians, and `depth` is the
    distance towards the viewer in units of figure space."""

    toy: Toy
    side: int
    yaw: float
    depth: float


@dataclass(frozen=True)
class Scene:
    """The content of one image. `light` in [-1, 1] is the horizontal position of the lamp. `seed` chooses the picture
    of the background, its crop and its flip, and seeds the grain of the style filter."""

    toy: Toy
    background: str
    camera: Camera
    style: Style = Style()
    view: str = "normal"
    clothing: Clothing | None = None
    companion: Companion | None = None
    light: float = 0.0
    seed: int = 0


def is_held_out(kind: str, color_name: str, background: str) -> bool:
    """Return whether this combination is held out of training. A stable hash holds out a tenth of all combinations."""
    digest = hashlib.blake2b(f"{kind} {color_name} {background}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 10 == 0
