"""Build the figures of the animals. Each function takes the four size factors of a toy, where 1 is the usual size of
the class. `attributes.PARTS` says which part of the class each factor scales."""

from dataclasses import replace
from math import pi

from .parts import Anchor, BodyPlan, FacePlan, Figure, Part, cone, curve, on_ball, pair, scale_parts, scale_point, tube


def cat(ears: float, belly: float, head: float, tail: float) -> Figure:
    nape, top = (0, 0.5, 0.03), (0.15, 0.83, 0.05)
    ear = [
        cone("ear", (0.16, 0.78, 0.04), (0.235, 1.02, 0.03), 0.115, 0.08, "plain", depth=0.55),
        cone("inner ear", (0.16, 0.8, 0.085), (0.225, 0.965, 0.06), 0.072, 0.08, "pink", depth=0.45),
    ]
    whiskers = [
        cone("whisker", (0.1, 0.64, 0.25), (0.34, 0.67, 0.2), 0.011, 0.8, "dark"),
        cone("whisker", (0.1, 0.61, 0.25), (0.33, 0.575, 0.2), 0.011, 0.8, "dark"),
    ]
    ball = ((0, 0.68, 0.04), (0.275, 0.225, 0.21))
    plan = FacePlan(*on_ball(*ball, 0.12, 0.735), 0.07, ("head", "muzzle"), (0, 0.61, 0.27), 0.07, ground="second")
    face = [
        Part("head", *ball, "main"),
        *pair(*scale_parts(ear, top, ears)),
        *pair(Part("muzzle", (0.05, 0.615, 0.215), (0.088, 0.072, 0.065), "second"), *whiskers),
        Part("nose", (0, 0.672, 0.262), (0.034, 0.024, 0.03), "pink"),
    ]
    tip = (0.25 + 0.2 * tail, 0.1 + 0.48 * tail, -0.12)
    swing = curve((0.1, 0.07, -0.16), (0.22 + 0.42 * tail, 0.02, -0.2), tip)
    return Figure(
        (
            Part("body", (0, 0.3, -0.03), (0.225 * belly, 0.31, 0.21 * belly), "main"),
            Part("chest", (0, 0.34, 0.06 * belly), (0.15 * belly, 0.2, 0.15 * belly), "second"),
            *pair(
                Part("haunch", (0.18 * belly, 0.12, -0.02), (0.11, 0.13, 0.17), "main"),
                Part("leg", (0.095, 0.17, 0.15), (0.066, 0.18, 0.075), "main"),
                Part("paw", (0.1, 0.045, 0.21), (0.075, 0.05, 0.095), "second"),
            ),
            *tube("tail", swing[:5], (0.058, 0.054), "main"),
            *tube("tail", swing[4:], (0.055, 0.05), "second"),
            *scale_parts(face, nape, head),
        ),
        BodyPlan(("body", "chest"), (0, 0.37, 0.2 * belly), 0.085, 0.27),
        plan.scale(nape, head),
        Anchor(scale_point((0, 0.87, 0.03), nape, head), 0.135 * head),
        Anchor((0, 0.485, 0.02), 0.17),
    )


def dog(ears: float, belly: float, head: float, tail: float) -> Figure:
    nape = (0, 0.5, 0.03)
    ear = [Part("ear", (0.265, 0.66, 0.04), (0.07, 0.2, 0.115), "second", (0, 0, 0.22))]
    ball = ((0, 0.71, 0.03), (0.235, 0.225, 0.215))
    plan = FacePlan(*on_ball(*ball, 0.105, 0.8), 0.066, ("head", "snout"), (0, 0.628, 0.33), 0.078, ground="white")
    face = [
        Part("head", *ball, "main"),
        *pair(*scale_parts(ear, (0.2, 0.84, 0.03), ears)),
        Part("snout", (0, 0.645, 0.22), (0.13, 0.105, 0.13), "white"),
        Part("nose", (0, 0.718, 0.32), (0.05, 0.034, 0.035), "dark"),
    ]
    tip = (-0.16 - 0.32 * tail, 0.12 + 0.32 * tail, -0.14)
    wag = curve((-0.1, 0.12, -0.2), (-0.1 - 0.3 * tail, 0.1, -0.24), tip, 4)
    return Figure(
        (
            Part("body", (0, 0.31, -0.04), (0.225 * belly, 0.31, 0.21 * belly), "main"),
            Part("chest", (0, 0.33, 0.06 * belly), (0.14 * belly, 0.21, 0.14 * belly), "white"),
            *pair(
                Part("haunch", (0.19 * belly, 0.12, -0.02), (0.11, 0.13, 0.17), "main"),
                Part("leg", (0.11, 0.18, 0.14), (0.07, 0.19, 0.08), "main"),
                Part("paw", (0.115, 0.045, 0.2), (0.08, 0.05, 0.1), "second"),
            ),
            *tube("tail", wag, (0.06, 0.032), "plain"),
            *scale_parts(face, nape, head),
        ),
        BodyPlan(("body", "chest"), (0, 0.37, 0.2 * belly), 0.085, 0.27),
        plan.scale(nape, head),
        Anchor(scale_point((0, 0.89, 0.02), nape, head), 0.16 * head),
        Anchor((0, 0.5, 0.01), 0.17),
    )


def rabbit(ears: float, belly: float, head: float, tail: float) -> Figure:
    nape = (0, 0.44, 0.03)
    ear = [
        Part("ear", (0.115, 0.96, 0.0), (0.07, 0.25, 0.045), "main", (0, 0, -0.16)),
        Part("inner ear", (0.115, 0.95, 0.035), (0.042, 0.19, 0.025), "pink", (0, 0, -0.16)),
    ]
    ball = ((0, 0.61, 0.04), (0.235, 0.205, 0.205))
    plan = FacePlan(*on_ball(*ball, 0.11, 0.675), 0.066, ("head", "muzzle"), (0, 0.532, 0.26), 0.07, ground="white")
    face = [
        Part("head", *ball, "main"),
        *pair(*scale_parts(ear, (0.085, 0.76, 0.01), ears)),
        *pair(Part("muzzle", (0.045, 0.535, 0.195), (0.09, 0.076, 0.068), "white")),
        Part("nose", (0, 0.598, 0.25), (0.034, 0.024, 0.03), "pink"),
    ]
    return Figure(
        (
            Part("body", (0, 0.27, -0.03), (0.23 * belly, 0.27, 0.22 * belly), "main"),
            Part("chest", (0, 0.28, 0.08 * belly), (0.155 * belly, 0.19, 0.14 * belly), "second"),
            *pair(
                Part("foot", (0.15 * belly, 0.055, 0.18), (0.09, 0.06, 0.18), "plain"),
                Part("arm", (0.15 * belly, 0.32, 0.17 * belly), (0.055, 0.1, 0.06), "plain", (0, 0, -0.45)),
            ),
            *scale_parts([Part("tail", (0.31, 0.15, -0.1), (0.105, 0.105, 0.105), "white")], (0.21, 0.13, -0.1), tail),
            *scale_parts(face, nape, head),
        ),
        BodyPlan(("body", "chest"), (0, 0.28, 0.22 * belly), 0.085, 0.2),
        plan.scale(nape, head),
        Anchor(scale_point((0, 0.765, 0.04), nape, head), 0.14 * head),
        Anchor((0, 0.43, 0.02), 0.17),
    )


def bear(ears: float, belly: float, head: float, tail: float) -> Figure:
    nape = (0, 0.52, 0.02)
    ear = [
        Part("ear", (0.2, 0.88, 0.0), (0.1, 0.1, 0.06), "plain"),
        Part("inner ear", (0.2, 0.88, 0.045), (0.062, 0.062, 0.03), "second"),
    ]
    ball = ((0, 0.72, 0.03), (0.255, 0.225, 0.215))
    plan = FacePlan(*on_ball(*ball, 0.115, 0.79), 0.066, ("head", "muzzle"), (0, 0.645, 0.29), 0.074, ground="second")
    face = [
        Part("head", *ball, "main"),
        *pair(*scale_parts(ear, (0.155, 0.83, 0), ears)),
        Part("muzzle", (0, 0.665, 0.205), (0.128, 0.1, 0.1), "second"),
        Part("nose", (0, 0.725, 0.285), (0.044, 0.03, 0.032), "dark"),
    ]
    hand = (0.2 * belly + 0.24 * tail, 0.5 - 0.16 * tail, 0.14)
    arm = tube("arm", [(0.19 * belly, 0.47, 0.02), hand], (0.095, 0.05 + 0.055 * tail), "plain")
    return Figure(
        (
            Part("body", (0, 0.31, -0.02), (0.27 * belly, 0.31, 0.24 * belly), "main"),
            Part("chest", (0, 0.3, 0.09 * belly), (0.18 * belly, 0.21, 0.165 * belly), "second"),
            *pair(
                *arm,
                Part("leg", (0.21 * belly, 0.115, 0.15), (0.115, 0.115, 0.2), "plain", (0, 0.3, 0)),
                Part("sole", (0.255 * belly, 0.12, 0.31), (0.085, 0.085, 0.05), "second", (0, 0.3, 0)),
            ),
            *scale_parts(face, nape, head),
        ),
        BodyPlan(("body", "chest"), (0, 0.36, 0.24 * belly), 0.095, 0.3),
        plan.scale(nape, head),
        Anchor(scale_point((0, 0.905, 0.02), nape, head), 0.15 * head),
        Anchor((0, 0.515, 0.02), 0.205),
    )


def owl(ears: float, belly: float, head: float, tail: float) -> Figure:
    gaze = 0.55 + 0.45 * head if head > 1 else head  # larger eyes would overlap
    eye = [
        Part("eye ring", (0.135, 0.67, 0.17), (0.15, 0.15, 0.075), "white"),
    ]
    plan = FacePlan((0.132, 0.67, 0.225), 0.2, 0.082, ("body",)).scale((0.11, 0.67, 0.17), gaze)
    plan = replace(plan, eye=(0.132, *plan.eye[1:]))
    tuft = [cone("tuft", (0.16, 0.8, 0.04), (0.27, 1.0, 0.04), 0.1, 0.05, "plain", depth=0.6)]
    spread = 0.15 + 0.22 * tail
    shoulder, size = (0.2 * belly + 0.19 * tail, 0.43, -0.02), (0.075 + 0.02 * tail, 0.1 + 0.21 * tail, 0.13)
    wing = Part("wing", shoulder, size, "second", (0, 0, spread))
    return Figure(
        (
            Part("body", (0, 0.4, 0), (0.295 * belly, 0.38, 0.25 * belly), "main"),
            Part("body", (0, 0.62, 0.01), (0.285, 0.245, 0.23), "main"),
            Part("chest", (0, 0.34, 0.09 * belly), (0.195 * belly, 0.25, 0.18 * belly), "second"),
            *pair(*scale_parts(tuft, (0.15, 0.79, 0.04), ears), wing),
            *pair(*scale_parts(eye, (0.11, 0.67, 0.17), gaze)),
            cone("beak", (0, 0.605, 0.2), (0, 0.5, 0.32), 0.062, 0.1, "orange"),
            *pair(Part("foot", (0.13, 0.035, 0.15), (0.095, 0.04, 0.12), "orange")),
        ),
        BodyPlan(("body", "chest"), (0, 0.33, 0.27 * belly), 0.095, 0.24),
        plan,
        Anchor((0, 0.835, 0.02), 0.17),
        Anchor((0, 0.5, 0.03), 0.26 * belly),
    )


def elephant(ears: float, belly: float, head: float, tail: float) -> Figure:
    nape = (0, 0.6, 0.1)
    ear = [
        Part("ear", (0.325, 0.69, 0.12), (0.195, 0.235, 0.045), "plain", (0, 0.6, 0)),
        Part("inner ear", (0.345, 0.685, 0.15), (0.145, 0.18, 0.035), "second", (0, 0.6, 0)),
    ]
    mark = scale_point(scale_point((0.36, 0.685, 0.17), (0.17, 0.72, 0.16), ears), nape, head)
    bend, end = (0, 0.58 - 0.3 * tail, 0.52), (0, 0.56 - 0.34 * tail, 0.56 + 0.13 * tail)
    trunk = curve((0, 0.62, 0.36), (0, 0.55, 0.52 + 0.04 * tail), bend, 4)
    trunk += curve(bend, (0, 0.55 - 0.42 * tail, 0.56), end, 3)[1:]
    ball = ((0, 0.67, 0.24), (0.205, 0.215, 0.2))
    plan = FacePlan(*on_ball(*ball, 0.135, 0.725), 0.064, ("head",))
    face = [
        Part("head", *ball, "main"),
        *pair(*scale_parts(ear, (0.17, 0.72, 0.16), ears)),
        *tube("trunk", trunk, (0.085, 0.05), "plain"),
        *pair(cone("tusk", (0.095, 0.55, 0.38), (0.125, 0.43, 0.54), 0.034, 0.3, "white")),
    ]
    legs = [cone("leg", (0.16, 0, z), (0.16, 0.36, z), 0.095, 1.0, "plain") for z in (0.1, -0.3)]
    nails = [Part("nail", (0.16, 0.04, z + 0.07), (0.075, 0.035, 0.045), "second") for z in (0.1, -0.3)]
    return Figure(
        (
            Part("body", (0, 0.45, -0.1), (0.27 * belly, 0.26 * belly, 0.36), "main"),
            *pair(*legs, *nails),
            *tube("tail", curve((0, 0.52, -0.43), (0, 0.48, -0.56), (0, 0.28, -0.54), 3), (0.026, 0.026), "plain"),
            *scale_parts(face, nape, head),
        ),
        BodyPlan(("ear", "inner ear"), mark, 0.085 * (0.5 + 0.5 * ears) * head, 0.19, 0.6, ("leg",)),
        plan.scale(nape, head),
        Anchor(scale_point((0, 0.85, 0.23), nape, head), 0.15 * head),
        Anchor((0, 0.5, 0.17), 0.2),
    )


def duck(ears: float, belly: float, head: float, tail: float) -> Figure:
    nape = (0, 0.5, 0.14)
    ball = ((0, 0.68, 0.17), (0.19, 0.185, 0.19))
    plan = FacePlan(*on_ball(*ball, 0.125, 0.735), 0.064, ("head",))
    face = [
        Part("head", *ball, "main"),
        Part("bill", (0, 0.645, 0.37), (0.105, 0.032, 0.13), "orange", (-0.12, 0, 0)),
        Part("bill", (0, 0.615, 0.35), (0.085, 0.026, 0.1), "orange", (0.1, 0, 0)),
    ]
    wing = [
        Part("wing", (0.28, 0.36, -0.08), (0.05, 0.13, 0.2), "second", (0.35, -0.2, 0.25)),
        Part("wing", (0.3, 0.4, -0.2), (0.04, 0.075, 0.16), "second", (0.55, -0.25, 0.25)),
    ]
    wing = scale_parts(wing, (0.23, 0.4, 0.05), ears)
    rump = [
        cone("tail", (0, 0.3, -0.3), (0, 0.53, -0.6), 0.19, 0.1, "plain", depth=0.55),
        cone("tail", (0, 0.44, -0.475), (0, 0.55, -0.62), 0.1, 0.1, "second", depth=0.62),
    ]
    return Figure(
        (
            Part("body", (0, 0.29, -0.06), (0.265 * belly, 0.235 * belly, 0.37), "main"),
            Part("neck", (0, 0.5, 0.14), (0.13, 0.17, 0.13), "main"),
            *pair(*wing),
            *scale_parts(rump, (0, 0.34, -0.32), tail),
            *pair(Part("foot", (0.12, 0.035, 0.1), (0.085, 0.035, 0.13), "orange")),
            *scale_parts(face, nape, head),
        ),
        BodyPlan(("body", "neck"), (0.16, 0.31, 0.23), 0.085, 0.26, 0.75),
        plan.scale(nape, head),
        Anchor(scale_point((0, 0.83, 0.16), nape, head), 0.135 * head),
        Anchor((0, 0.51, 0.15), 0.13),
    )


def fish(ears: float, belly: float, head: float, tail: float) -> Figure:
    eye = ((0.125 + 0.03 * belly, 0.53, 0.25), 1.1)
    plan = FacePlan(*eye, 0.07 * head, ("body",), (0.085, 0.395, 0.37), 0.07, 0.75)
    fork = [
        Part("tail", (0, 0.58, -0.53), (0.035, 0.19, 0.1), "second", (-0.75, 0, 0)),
        Part("tail", (0, 0.36, -0.53), (0.035, 0.19, 0.1), "second", (0.75, 0, 0)),
    ]
    back = [Part("fin", (0, 0.72, -0.06), (0.032, 0.14, 0.21), "second", (-0.25, 0, 0))]
    side = [Part("side fin", (0.25, 0.38, -0.02), (0.035, 0.085, 0.15), "second", (0.35, -0.7, 0))]
    return Figure(
        (
            Part("body", (0, 0.46, 0.02), (0.185 * belly, 0.27 * belly, 0.42), "main"),
            Part("body", (0, 0.47, -0.36), (0.06, 0.09, 0.14), "main"),
            *scale_parts(fork, (0, 0.47, -0.42), tail),
            *scale_parts(back, (0, 0.66, 0), ears),
            *pair(*scale_parts(side, (0.17, 0.41, 0.08), ears)),
        ),
        BodyPlan(("body",), (0.17 * belly, 0.52, -0.06), 0.085, -0.16, pi / 2),
        plan,
        grain="z",
    )
