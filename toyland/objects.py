"""Build the figures of people, machines, dishes and plants. Each function takes the four size factors of a toy, as in
`animals`."""

from math import cos, pi, sin

from .parts import Anchor, BodyPlan, FacePlan, Figure, Part, cone, curve, on_ball, pair, scale_parts, scale_point, tube


def robot(ears: float, belly: float, head: float, tail: float) -> Figure:
    neck, crest = (0, 0.66, 0), (0, 0.9, 0)
    antenna = [
        cone("antenna", crest, (0, 1.04, 0), 0.02, 1.0, "dark"),
        Part("antenna", (0, 1.06, 0), (0.05, 0.05, 0.05), "red"),
    ]
    plan = FacePlan((0.092, 0.82, 0.19), 0.42, 0.066, ("head",), (0, 0.735, 0.215), 0.082, ground="plain", lid="plain")
    face = [
        cone("head", (0, 0.68, 0), (0, 0.9, 0), 0.215, 0.95, "plain"),
        Part("head", (0, 0.9, 0), (0.204, 0.06, 0.204), "plain"),
        *pair(
            cone("bolt", (0.2, 0.79, 0), (0.265, 0.79, 0), 0.07, 0.8, "second"),
        ),
        *scale_parts(antenna, crest, ears),
    ]
    elbow = (0.29 * belly + 0.07 * tail, 0.54 - 0.13 * tail, 0.0)
    hand = (0.28 * belly + 0.06 * tail, 0.55 - 0.29 * tail, 0.08)
    palm = 0.045 + 0.04 * tail
    arm = [
        *tube("arm", [(0.26 * belly, 0.56, 0), elbow, hand], (0.05, 0.045), "steel"),
        Part("hand", hand, (palm, palm, palm), "second"),
    ]
    return Figure(
        (
            cone("body", (0, 0.24, 0), (0, 0.62, 0), 0.225 * belly, 1.13, "main"),
            Part("body", (0, 0.62, 0), (0.254 * belly, 0.045, 0.254 * belly), "plain"),
            Part("panel", (0, 0.47, 0.145 * belly), (0.125 * belly, 0.1, 0.12 * belly), "second"),
            Part("button", (-0.055, 0.33, 0.222 * belly), (0.026, 0.026, 0.02), "red"),
            Part("button", (0.055, 0.33, 0.222 * belly), (0.026, 0.026, 0.02), "yellow"),
            cone("neck", (0, 0.6, 0), (0, 0.7, 0), 0.09, 1.0, "steel"),
            *pair(
                *arm,
                cone("leg", (0.115, 0.06, 0), (0.115, 0.26, 0), 0.065, 1.0, "steel"),
                Part("foot", (0.125, 0.05, 0.04), (0.1, 0.06, 0.14), "second"),
            ),
            *scale_parts(face, neck, head),
        ),
        BodyPlan(("body", "panel"), (0, 0.48, 0.26 * belly), 0.08, 0.42),
        plan.scale(neck, head),
        Anchor(scale_point((0, 0.925, 0), neck, head), 0.16 * head),
        Anchor((0, 0.635, 0), 0.16),
    )


def snowman(ears: float, belly: float, head: float, tail: float) -> Figure:
    nape = (0, 0.7, 0)
    ball = ((0, 0.85, 0), (0.185, 0.17, 0.18))
    plan = FacePlan(*on_ball(*ball, 0.088, 0.9), 0.06, ("head",), (0, 0.8, 0.168), 0.07, ground="plain", lid="plain")
    face = [
        Part("head", *ball, "plain"),
        *scale_parts([cone("nose", (0, 0.86, 0.14), (0.0, 0.9, 0.32), 0.046, 0.15, "orange")], (0, 0.86, 0.14), tail),
    ]
    twig = [
        *tube("arm", [(0.16, 0.58, 0.02), (0.46, 0.74, 0.03)], (0.026, 0.022), "wood"),
        *tube("arm", [(0.38, 0.7, 0.03), (0.42, 0.82, 0.03)], (0.018, 0.015), "wood"),
        *tube("arm", [(0.38, 0.7, 0.03), (0.5, 0.68, 0.03)], (0.018, 0.015), "wood"),
    ]
    return Figure(
        (
            Part("base", (0, 0.245, 0), (0.29 * belly, 0.25, 0.29 * belly), "main"),
            Part("body", (0, 0.57, 0), (0.22 * belly, 0.2, 0.22 * belly), "main"),
            *(
                Part("button", (0, y, z * belly), (0.032, 0.032, 0.024), "dark")
                for y, z in ((0.64, 0.203), (0.53, 0.212))
            ),
            Part("collar", (0, 0.7, 0), (0.165, 0.04, 0.165), "second"),
            *pair(*scale_parts(twig, (0.18, 0.6, 0.02), ears)),
            *scale_parts(face, nape, head),
        ),
        BodyPlan(("base", "body"), (0, 0.3, 0.28 * belly), 0.095, 0.33),
        plan.scale(nape, head),
        Anchor(scale_point((0, 0.985, 0), nape, head), 0.125 * head),
        Anchor((0, 0.7, 0), 0.175),
    )


def doctor(ears: float, belly: float, head: float, tail: float) -> Figure:
    nape, scalp = (0, 0.64, 0), (0, 0.86, -0.02)
    hair = [
        Part("hair", (0, 0.895, -0.05), (0.2, 0.145, 0.175), "hair"),
        *pair(Part("hair", (0.155, 0.81, -0.04), (0.06, 0.13, 0.09), "hair")),
    ]
    ball = ((0, 0.82, 0.02), (0.195, 0.195, 0.175))
    plan = FacePlan(
        *on_ball(*ball, 0.088, 0.82), 0.058, ("head",), (0, 0.715, 0.17), 0.07, ground="skin", lid="skin", rim=0.34
    )
    face = [
        Part("head", *ball, "skin"),
        *scale_parts(hair, scalp, 0.45 + 0.55 * ears),
        Part("nose", (0, 0.775, 0.192), (0.024, 0.028, 0.03), "skin"),
        Part("band", (0, 0.925, 0.01), (0.18, 0.026, 0.172), "dark"),
        cone("mirror", (0, 0.95, 0.135), (0, 0.96, 0.19), 0.06, 0.9, "white"),
        Part("mirror", (0, 0.96, 0.185), (0.032, 0.032, 0.02), "steel"),
    ]
    chest = 0.17 * belly
    half = [(0.085, 0.6, 0.1), (0.075, 0.5, chest), (0, 0.42, 0.03 + chest)]
    tie = [(-px, py, pz) for px, py, pz in half] + half[1::-1]
    return Figure(
        (
            cone("coat", (0, 0.17, 0), (0, 0.56, 0), 0.235 * belly, 0.72, "coat", depth=0.85),
            Part("coat", (0, 0.545, 0), (0.19 * belly, 0.09, 0.14 * belly), "coat"),
            cone("shirt", (0, 0.2, 0.075 * belly), (0, 0.6, 0.06 * belly), 0.155 * belly, 0.7, "main", depth=0.85),
            *tube("stethoscope", tie, (0.017, 0.017), "dark"),
            cone("stethoscope", (0, 0.41, 0.18 * belly), (0, 0.4, 0.22 * belly), 0.04, 0.9, "mirror"),
            cone("neck", (0, 0.58, 0), (0, 0.7, 0.01), 0.06, 1.0, "skin"),
            *pair(
                *tube("sleeve", [(0.16 * belly, 0.54, 0), (0.27 * belly, 0.33, 0.05)], (0.065, 0.07), "coat"),
                Part("hand", (0.285 * belly, 0.265, 0.06), (0.05, 0.055, 0.05), "skin"),
                cone("leg", (0.095, 0.05, 0), (0.095, 0.2, 0), 0.075, 1.0, "plain"),
                Part("shoe", (0.1, 0.04, 0.045), (0.085, 0.05, 0.13), "second"),
            ),
            *scale_parts(face, nape, head),
        ),
        BodyPlan(("coat", "shirt"), (0.11 * belly, 0.43, 0.17 * belly), 0.062, 0.3),
        plan.scale(nape, head),
        Anchor(scale_point((0, 0.945, 0.0), nape, head), 0.16 * head),
        Anchor((0, 0.605, 0.01), 0.13),
    )


def car(ears: float, belly: float, head: float, tail: float) -> Figure:
    radius = 0.135 * (0.5 + 0.5 * ears)
    wide = 0.265 * belly
    wheels = []
    for z in (0.3, -0.31):
        wheels += [
            cone("wheel", (wide - 0.07, radius, z), (wide + 0.035, radius, z), radius, 0.93, "dark"),
            cone("hub", (wide, radius, z), (wide + 0.045, radius, z), 0.6 * radius, 0.9, "mark"),
        ]
    roof = 0.2 * head * head
    return Figure(
        (
            Part("body", (0, 0.28, 0), (0.29 * belly, 0.15 * belly, 0.53), "main"),
            Part("body", (0, 0.22, 0), (0.27 * belly, 0.11, 0.53), "main"),
            Part("cabin", (0, 0.37, -0.07), (0.24 * belly, 0.07 + roof, 0.33), "main"),
            Part("window", (0, 0.37, -0.07), (0.19 * belly, 0.86 * (0.07 + roof), 0.38), "glass"),
            Part("window", (0, 0.37, -0.07), (0.275 * belly, 0.86 * (0.07 + roof), 0.21), "glass"),
            cone("bumper", (-0.2 * belly, 0.16, 0.49), (0.2 * belly, 0.16, 0.49), 0.04, 1.0, "second"),
            *pair(*wheels, Part("lamp", (0.15 * belly, 0.29, 0.455), (0.06, 0.06, 0.05), "yellow")),
        ),
        BodyPlan(("body", "cabin"), (0.28 * belly, 0.25, 0.0), 0.085, 0.0, pi / 2),
        grain="z",
    )


def teapot(ears: float, belly: float, head: float, tail: float) -> Figure:
    middle, top, side = 0.03 + 0.3 * belly, 0.03 + 0.6 * belly, 0.33 * belly
    lid = [
        Part("lid", (0, top - 0.01, 0), (0.19, 0.075, 0.19), "second"),
        Part("knob", (0, top + 0.105, 0), (0.06, 0.06, 0.06), "plain"),
    ]
    bends = [k * pi / 16 - pi / 2 for k in range(0, 17, 2)]
    loop = [(-0.6 * side - 0.27 * ears * cos(a), middle + 0.02 + (0.11 + 0.09 * ears) * sin(a), 0) for a in bends]
    end = (side - 0.03 + 0.24 * tail, middle - 0.03 + 0.31 * tail, 0)
    spout = curve((0.67 * side, middle - 0.08, 0), (side + 0.13 * tail, middle - 0.09, 0), end, 5)
    return Figure(
        (
            Part("body", (0, middle, 0), (side, 0.3 * belly, side), "main"),
            cone("foot", (0, 0, 0), (0, 0.09, 0), 0.22, 0.85, "second"),
            *tube("spout", spout, (0.1, 0.05), "plain"),
            Part("spout", end, (0.068, 0.035, 0.068), "second", (0, 0, -0.6)),
            *tube("handle", loop, (0.042, 0.042), "second"),
            *scale_parts(lid, (0, top - 0.03, 0), head),
        ),
        BodyPlan(("body",), (0, middle - 0.15 * belly, 0.28 * belly), 0.06, middle - 0.16 * belly),
        FacePlan(
            *on_ball((0, middle, 0), (side, 0.3 * belly, side), 0.11, middle + 0.08),
            0.064,
            ("body",),
            (0, middle - 0.025, 0.33 * belly),
            0.078,
        ),
    )


def mug(ears: float, belly: float, head: float, tail: float) -> Figure:
    wide = 0.29 * belly
    bends = [k * pi / 16 - pi / 2 for k in range(0, 17, 2)]
    loop = [(wide - 0.02 + 0.24 * ears * cos(a), 0.4 + 0.21 * ears * sin(a), 0) for a in bends]
    return Figure(
        (
            cone("body", (0, 0.06, 0), (0, 0.76, 0), wide, 1.06, "main"),
            cone("foot", (0, 0, 0), (0, 0.075, 0), 0.92 * wide, 1.12, "second"),
            cone("rim", (0, 0.72, 0), (0, 0.775, 0), 1.08 * wide, 1.0, "second"),
            cone("tea", (0, 0.7, 0), (0, 0.78, 0), 0.93 * wide, 1.0, "wood"),
            *tube("handle", loop, (0.05, 0.05), "second"),
        ),
        BodyPlan(("body",), (0, 0.22, wide), 0.075, 0.2),
        FacePlan(*on_ball((0, 0.5, 0), (wide, 9, wide), 0.11, 0.54), 0.068, ("body",), (0, 0.415, wide), 0.08),
    )


def mushroom(ears: float, belly: float, head: float, tail: float) -> Figure:
    cap = [
        Part("cap", (0, 0.62, 0), (0.42, 0.24, 0.42), "main"),
        Part("gills", (0, 0.55, 0), (0.38, 0.12, 0.38), "second"),
    ]
    stem = 0.19 * belly * belly
    eye = on_ball((0, 0.3, 0), (0.9 * stem, 9, 0.9 * stem), 0.43 * stem, 0.32)
    plan = FacePlan(*eye, 0.06, ("stem",), (0, 0.215, 0.9 * stem), 0.062, ground="cream", lid="cream")
    return Figure(
        (
            cone("stem", (0, 0.06, 0), (0, 0.55, 0), stem, 0.8, "cream"),
            Part("stem", (0, 0.1, 0), (1.2 * stem, 0.1, 1.2 * stem), "cream"),
            *scale_parts(cap, (0, 0.55, 0), 0.35 + 0.65 * ears),
        ),
        BodyPlan(("cap",), scale_point((0, 0.66, 0.36), (0, 0.55, 0), 0.35 + 0.65 * ears), 0.1, 0.64),
        plan,
    )


def tree(ears: float, belly: float, head: float, tail: float) -> Figure:
    trunk = 0.095 * belly**2
    tiers = ((0.22, 0.56, 0.37, 0.35), (0.46, 0.78, 0.29, 0.3), (0.68, 1.04, 0.21, 0.04))
    crown = [cone("crown", (0, low, 0), (0, high, 0), radius, taper, "main") for low, high, radius, taper in tiers]
    crown += [Part("hem", (0, low, 0), (radius, 0.05, radius), "plain") for low, _, radius, _ in tiers]
    low, middle, high = (0.25, 0.37), (0.49, 0.29), (0.7, 0.21)
    places = ((0.45, low), (1.2, low), (-1.0, low), (0.7, middle), (-0.6, middle), (0.1, high))
    for turn, (y, radius) in places:
        crown.append(Part("bauble", (radius * sin(turn), y, radius * cos(turn)), (0.052, 0.052, 0.052), "second"))
    crown.append(Part("top", (0, 1.06, 0), (0.075, 0.075, 0.075), "mark"))
    return Figure(
        (
            cone("trunk", (0, 0, 0), (0, 0.4, 0), trunk, 0.8, "wood"),
            *scale_parts(crown, (0, 0.22, 0), 0.5 + 0.5 * ears),
        ),
        BodyPlan(("crown", "hem"), scale_point((0, 0.36, 0.3), (0, 0.22, 0), 0.5 + 0.5 * ears), 0.12, 0.36),
    )
