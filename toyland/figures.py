"""Turn a toy into a figure: solids, paints, decals and clothes."""

from dataclasses import replace

from . import animals, objects
from .attributes import HAIRS, SKINS, WEARERS, Clothing, Toy
from .faces import eye_parts, face_decals
from .marks import body_decals
from .painting import RGB, Decal
from .parts import Figure, Part, cone

BUILDERS = {
    "cat": animals.cat,
    "dog": animals.dog,
    "rabbit": animals.rabbit,
    "bear": animals.bear,
    "owl": animals.owl,
    "elephant": animals.elephant,
    "duck": animals.duck,
    "fish": animals.fish,
    "robot": objects.robot,
    "snowman": objects.snowman,
    "doctor": objects.doctor,
    "car": objects.car,
    "teapot": objects.teapot,
    "mug": objects.mug,
    "mushroom": objects.mushroom,
    "tree": objects.tree,
}
# Paints that are the same on all toys, RGB 0-255.
FIXED_PAINTS = {
    "dark": (34, 32, 38),
    "white": (246, 244, 240),
    "coat": (244, 246, 250),
    "cream": (243, 232, 208),
    "pink": (245, 150, 170),
    "red": (215, 50, 50),
    "orange": (245, 145, 35),
    "yellow": (250, 215, 70),
    "wood": (112, 72, 44),
    "steel": (96, 100, 110),
    "mirror": (205, 212, 222),
    "glass": (150, 205, 235),
}
# Names of the parts whose thickness `Toy.limbs` sets; the feet of mugs and teapots are among them.
LIMBS = frozenset("leg arm paw foot haunch hand sleeve tail shoe".split())


def paints(toy: Toy) -> dict[str, RGB]:
    """Return the colour (RGB 0-255) of each paint name that the parts of this toy can have."""
    own = {"main": toy.color.rgb, "plain": toy.color.rgb, "second": toy.color2.rgb}
    own["mark"] = toy.marks.color.rgb
    return {**FIXED_PAINTS, **own, "skin": SKINS[toy.skin], "hair": HAIRS[toy.hair]}


def figure(toy: Toy) -> Figure:
    """Build the figure of a toy. Its proportions in [-1, 1] become size factors around 1."""
    if toy.kind == "owl" or toy.kind == "fish" or toy.kind == "teapot":
        head = size_factor(toy.head, 0.72, 1.4)  # of the eyes or the lid, which vary more than heads
    else:
        head = size_factor(toy.head, 0.83, 1.2)
    sizes = size_factor(toy.ears, 0.6, 1.5), size_factor(toy.belly, 0.82, 1.22), head, size_factor(toy.tail, 0.6, 1.5)
    shape = BUILDERS[toy.kind](*sizes)
    thick = size_factor(toy.limbs, 0.85, 1.18)
    parts = [_thicken(part, thick) if part.name in LIMBS else part for part in shape.parts]
    eyes = eye_parts(shape.face, toy.face) if shape.face and not toy.faceless else []
    return replace(shape, parts=(*parts, *eyes))


def _thicken(limb: Part, thick: float) -> Part:
    x, y, z = limb.radii
    return replace(limb, radii=(thick * x, y if limb.taper is not None else thick * y, thick * z))


def decals(toy: Toy, shape: Figure) -> list[Decal]:
    """Return the decals of a toy with figure `shape`, in painting order. They are painted over its pattern."""
    layers = body_decals(shape.body, toy.marks, shape.grain)
    if shape.face is None or toy.faceless:
        return layers
    colors = paints(toy)
    red, green, blue = colors[shape.face.lid]
    lid = (0.78 * red, 0.78 * green, 0.78 * blue)
    return layers + face_decals(shape.face, toy.face, toy.marks, colors[shape.face.ground], lid)


def size_factor(proportion: float, smallest: float, largest: float) -> float:
    """Map a proportion in [-1, 1] to a size factor: -1 to `smallest`, 0 to 1, 1 to `largest`, geometric in between."""
    return largest**proportion if proportion > 0 else smallest**-proportion


def clothes(clothing: Clothing, wearer: Figure) -> list[Part]:
    """Return the parts of a hat or a scarf that fits `wearer`. Their paints are "clothing" and "trim". Raises
    ValueError if the figure has no place for it, or if it is neither."""
    if clothing.item not in ("hat", "scarf"):
        raise ValueError(f"unknown clothing {clothing.item!r}: choose hat or scarf")
    anchor = wearer.crown if clothing.item == "hat" else wearer.neck
    if anchor is None:
        raise ValueError(f"this figure cannot wear a {clothing.item}: choose one of {', '.join(sorted(WEARERS))}")
    (x, y, z), r = anchor.centre, anchor.radius
    if clothing.item == "hat":
        return [
            cone("hat", (x, y - 0.015, z), (x, y + 0.02, z), 1.55 * r, 0.96, "clothing"),
            cone("hat", (x, y, z), (x, y + 1.25 * r, z), r, 0.84, "clothing"),
            Part("hat", (x, y + 1.25 * r, z), (0.84 * r, 0.25 * r, 0.84 * r), "clothing"),
            cone("hat band", (x, y, z), (x, y + 0.4 * r, z), 1.05 * r, 0.96, "trim"),
        ]
    return [
        Part("scarf", (x, y, z), (1.3 * r, 0.075, 1.3 * r), "clothing"),
        Part("scarf", (x + 0.45 * r, y - 0.14, z + 1.1 * r), (0.058, 0.16, 0.045), "clothing", (0.1, 0, 0.12)),
        Part("scarf", (x + 0.42 * r, y - 0.01, z + 1.12 * r), (0.065, 0.06, 0.055), "trim"),
    ]
