"""Renders the toys that come with the project for inversion, each in five places, with their ground truth beside them.

python scripts/concepts.py            # all of them, into assets/concepts
python scripts/concepts.py cat_toy --into /tmp/concepts
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from toyland.attributes import Scene, Style, Toy
from toyland.captions import describe
from toyland.names import concept_toy
from toyland.render import render
from toyland.sampling import sample_scene

FOLDER = Path(__file__).resolve().parents[1] / "assets" / "concepts"

# Class and seed of each toy, chosen by eye: two clearly different colours, a pattern, proportions of its own.
CONCEPTS = {"cat_toy": ("cat", 35), "teapot_toy": ("teapot", 84), "owl_toy": ("owl", 69)}
# Where the toy is seen. The moon and the beach are left for the words to put it there.
PLACES = ("studio", "meadow", "table", "forest", "snow")


def concept(name: str) -> tuple[Toy, list[Scene]]:
    """The toy called `name` and its five scenes: photos of the toy alone, unclothed and whole."""
    kind, seed = CONCEPTS[name]
    toy = concept_toy(np.random.default_rng(seed), kind)
    rng = np.random.default_rng((seed, 1))
    return toy, [_alone(rng, toy, place) for place in PLACES]


def _alone(rng: np.random.Generator, toy: Toy, place: str) -> Scene:
    while True:
        scene = sample_scene(rng, toy=toy, background=place, style=Style(), view="normal")
        if scene.clothing is None and scene.companion is None and _is_whole(scene):
            return scene


def _is_whole(scene: Scene) -> bool:
    """Whether the picture's edge cuts nothing off."""
    mask = render(scene).mask
    return not (mask[[0, -1]].any() or mask[:, [0, -1]].any())


def ground_truth(name: str) -> dict:
    """Every attribute of the toy and of its scenes, as JSON values, with a sentence that says it all."""
    toy, scenes = concept(name)
    pictures = [{k: v for k, v in asdict(scene).items() if k != "toy"} for scene in scenes]
    described = describe(toy, np.random.default_rng(0))
    return {"name": name, "seed": CONCEPTS[name][1], "description": described, "toy": asdict(toy), "pictures": pictures}


def write(name: str, folder: Path) -> None:
    """`folder`/00.png ... 04.png, 128 x 128, and `folder`/concept.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, scene in enumerate(concept(name)[1]):
        Image.fromarray(render(scene).image).save(folder / f"{index:02d}.png", optimize=True)
    text = json.dumps(ground_truth(name), indent=2)
    (folder / "concept.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the project's own concepts.")
    parser.add_argument("names", nargs="*", default=list(CONCEPTS), metavar="name", help=f"of {', '.join(CONCEPTS)}")
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder (%(default)s)")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(CONCEPTS)
    if unknown:
        parser.error(f"no concept is called {', '.join(sorted(unknown))}: give some of {', '.join(CONCEPTS)}")
    for name in arguments.names:
        write(name, arguments.into / name)


if __name__ == "__main__":
    main()
