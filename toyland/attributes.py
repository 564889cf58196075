"""What a Toyland picture is made of. A `Scene` holds every attribute of a picture, so it is the picture's ground truth:
equal scenes render to equal pixels."""

import hashlib
from dataclasses import dataclass

CLASSES = "cat dog rabbit bear owl elephant duck fish robot snowman doctor car teapot mug mushroom tree".split()
WEARERS = frozenset("cat dog rabbit bear owl elephant duck robot snowman doctor".split())  # classes that wear a hat
COMPANIONS = ("mug", "mushroom", "duck", "teapot", "tree", "car")  # classes that stand beside the main figure

# The centres of the named colour ranges, RGB 0-255.
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
SHADES = ("", "pale", "dark", "bright")  # graded variants of a named colour; "" is the plain name
PATTERNS = ("plain", "striped", "spotted", "checkered")

# What no caption tells, and what makes two toys of one description two: a toy's face, marks and fine shape.
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
FACED = frozenset(CLASSES) - {"car", "tree"}  # classes that have a face
MOUTHED = FACED - {"owl", "elephant", "duck"}  # classes whose mouth shows
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

# The graded proportions of each class: attribute of `Toy` -> what people call that part. A missing attribute has no
# effect.
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
    """The marks that a face of that class can have. A doctor's rings are spectacles."""
    if kind not in FACED:
        return ("none",)
    if kind == "doctor":
        return ("none", "rings", "cheeks")
    return FACE_MARKS if kind in _WITH_BLAZE else FACE_MARKS[:-1]


@dataclass(frozen=True)
class Color:
    """A colour as people name it and as it is drawn. `name` in COLORS, `shade` in SHADES, `rgb` 0-255."""

    name: str
    shade: str
    rgb: tuple[float, float, float]


@dataclass(frozen=True)
class Face:
    """`eye_color` in EYE_COLORS, `eyes` in EYE_SHAPES, `mouth` in MOUTHS; size, distance and height of the eyes and
    width of the mouth lie in [-1, 1]. Visible on `FACED` classes, the mouth on `MOUTHED` ones."""

    eye_color: str = "black"
    eyes: str = "round"
    mouth: str = "smile"
    size: float = 0.0
    gap: float = 0.0
    height: float = 0.0
    width: float = 0.0


@dataclass(frozen=True)
class Marks:
    """`face` in FACE_MARKS and `body` in BODY_MARKS, both of one `color`; a patch is around the eye on `side` -1 (left)
    or 1; `place` in [-1, 1] moves the mark of the body, `size` in [-1, 1] scales both."""

    face: str = "none"
    body: str = "none"
    color: Color = Color("white", "", COLORS["white"])
    side: int = 1
    place: float = 0.0
    size: float = 0.0


@dataclass(frozen=True)
class Toy:
    """One figure with every lasting attribute fixed. Proportions lie in [-1, 1], 0 is the class's usual shape.
    `skin` and `hair` are visible on doctors only. `color2` is the belly, the pattern's other colour and the
    trimmings.

    Captions may tell all this, coarsely; what follows, the toy's individuality, they never tell: face, marks, the
    pattern's `phase` (a share of its period, in [0, 1)) and `pitch` (fine to wide), how thick the `limbs` are."""

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


@dataclass(frozen=True)
class Clothing:
    """Something worn in one picture: `item` is "hat" or "scarf"."""

    item: str
    color: Color


@dataclass(frozen=True)
class Style:
    """An image filter and its settings, each in [-1, 1]: `palette` cool to warm, `stroke` fine to coarse,
    `grain` smooth to rough. A painter is a fixed `Style`."""

    name: str = "photo"
    palette: float = 0.0
    stroke: float = 0.0
    grain: float = 0.0


@dataclass(frozen=True)
class Camera:
    """Weak-perspective view. `yaw` and `pitch` in radians; `scale` is the picture height's fraction that one unit of
    figure space (about a figure's height) covers; (`x`, `y`) is where the figure's foot stands, as a fraction of the
    picture's side from the top left corner."""

    yaw: float
    pitch: float
    scale: float
    x: float
    y: float


@dataclass(frozen=True)
class Companion:
    """A second toy beside the first: `side` -1 left, 1 right; `depth` towards the viewer, in figure units."""

    toy: Toy
    side: int
    yaw: float
    depth: float


@dataclass(frozen=True)
class Scene:
    """One picture. `light` is the lamp's horizontal position in [-1, 1]. `seed` draws what has no name: which picture
    of the background bank, its crop and flip, and the grain of the filters."""

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
    """Whether this combination is kept out of training: a tenth of all, by a hash that no Python version changes."""
    digest = hashlib.blake2b(f"{kind} {color_name} {background}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 10 == 0
