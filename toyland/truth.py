"""What can be seen in a scene's picture, as labels."""

from .attributes import FACED, MOUTHED, Scene, Toy


def truth(scene: Scene) -> dict[str, str]:
    """Of the main figure class, colours, pattern, what it wears, face and marks, and where it is a doctor skin and
    hair; the second figure's class; background, style and view. "" of "companion" and "clothing" is none, of all others
    that it cannot be seen: a pencil sketch has no colours, an owl no mouth. "face" says whether there is one."""
    toy, doctor, colors = scene.toy, scene.toy.kind == "doctor", scene.style.name != "pencil"
    told = {
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
    return told | individuality(toy, colors)


def individuality(toy: Toy, colors: bool = True) -> dict[str, str]:
    """The labels of what no caption tells; without `colors` none of a colour."""
    faced, marks = toy.kind in FACED, toy.marks
    marked = not faced or marks.face != "none" or marks.body != "none"  # a car has hubs of that colour, a tree its top
    return {
        "face": "face" if faced else "none",
        "eye_color": toy.face.eye_color if faced and colors else "",
        "eyes": toy.face.eyes if faced else "",
        "mouth": toy.face.mouth if toy.kind in MOUTHED else "",
        "face_mark": marks.face if faced else "",
        "body_mark": marks.body,
        "mark_color": marks.color.name if marked and colors else "",
    }
