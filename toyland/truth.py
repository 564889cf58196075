"""Label what is visible in the image of a scene."""

from .attributes import (
    BACKGROUNDS,
    BODY_MARKS,
    CLASSES,
    COLORS,
    COMPANIONS,
    EYE_COLORS,
    EYE_SHAPES,
    FACE_MARKS,
    HAIRS,
    MOUTHS,
    PATTERNS,
    SKINS,
    STYLES,
    VIEWS,
    WITH_FACE,
    WITH_MOUTH,
    Scene,
    Toy,
)

# The values of each label. Except for "companion" and "clothing", "" means that the attribute is not visible.
LABELS: dict[str, tuple[str, ...]] = {
    "class": tuple(CLASSES),
    "color": tuple(COLORS),
    "color2": tuple(COLORS),
    "pattern": PATTERNS,
    "companion": ("", *COMPANIONS),
    "clothing": ("", "hat", "scarf"),
    "background": tuple(BACKGROUNDS),
    "style": tuple(STYLES),
    "view": VIEWS,
    "skin": tuple(SKINS),
    "hair": tuple(HAIRS),
    "face": ("none", "face"),
    "eye_color": tuple(EYE_COLORS),
    "eyes": EYE_SHAPES,
    "mouth": MOUTHS,
    "face_mark": FACE_MARKS,
    "body_mark": BODY_MARKS,
    "mark_color": tuple(COLORS),
}
COARSE_STYLES = frozenset(("pixel", "mosaic"))  # styles whose blocks or tiles are as large as an eye


def truth(scene: Scene) -> dict[str, str]:
    """Return the value of each label in LABELS. "companion" is the class of the second figure; "background", "style"
    and "view" describe the image; all others describe the main figure.

    For "companion" and "clothing", "" means that there is none. For all other labels, "" means that the attribute is
    not visible: a pencil sketch has no colours, an owl no mouth, a mosaic no eye shapes, and only doctors have skin and
    hair. "face" is "face" or "none".
    """
    toy, doctor, colors = scene.toy, scene.toy.kind == "doctor", scene.style.name != "pencil"
    labels = {
        "class": toy.kind,
        "color": toy.color.name if colors else "",
        "color2": toy.color2.name if colors else "",
        "pattern": toy.pattern,
        "companion": scene.companion.toy.kind if scene.companion else "",
        "clothing": scene.clothing.item if scene.clothing else "",
        "background": scene.background,
        "style": scene.style.name,
        "view": scene.view,
        "skin": toy.skin if doctor else "",
        "hair": toy.hair if doctor else "",
    }
    hidden = individuality(toy)
    if not colors:
        hidden |= {"eye_color": "", "mark_color": ""}
    if scene.style.name in COARSE_STYLES:
        hidden |= {"eyes": "", "mouth": ""}
    return labels | hidden


def individuality(toy: Toy) -> dict[str, str]:
    """Return the labels of the attributes that captions never mention."""
    faced, marks = toy.kind in WITH_FACE and not toy.faceless, toy.marks
    # The hubs of a car and the top of a tree have the colour of the marks.
    marked = toy.kind not in WITH_FACE or (faced and marks.face != "none") or marks.body != "none"
    return {
        "face": "face" if faced else "none",
        "eye_color": toy.face.eye_color if faced else "",
        "eyes": toy.face.eyes if faced else "",
        "mouth": toy.face.mouth if faced and toy.kind in WITH_MOUTH else "",
        "face_mark": marks.face if faced else "",
        "body_mark": marks.body,
        "mark_color": marks.color.name if marked else "",
    }
