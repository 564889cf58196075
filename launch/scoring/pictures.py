"""Scores of images: what the autoencoder keeps, and how far generated images are from renders."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ldm.images import to_tensor
from ldm.modules.autoencoder import AutoencoderKL
from textual_inversion.evaluation.classifier import AttributeClassifier
from textual_inversion.evaluation.evaluator import Evaluator
from textual_inversion.evaluation.metrics import frechet_distance

INDIVIDUAL = ("eye_color", "eyes", "mouth", "face_mark")  # labels of a face


def reconstruct(autoencoder: AutoencoderKL, images: Tensor) -> Tensor:
    """Decode images [n, 3, H, W] from their posterior means: an upper bound on the quality of generated images."""
    return torch.cat([autoencoder.decode(autoencoder.encode(x).mean).clamp(-1.0, 1.0) for x in images.split(32)])


def with_reconstructions(autoencoder: AutoencoderKL, images: np.ndarray) -> dict[str, Tensor]:
    """Return images uint8 [n, H, W, 3] as "renders", and what the autoencoder makes of them as "reconstructions"."""
    renders = to_tensor(images)
    return {"renders": renders, "reconstructions": reconstruct(autoencoder, renders)}


def frechet(
    generated: Tensor, renders: Tensor, decoded: Tensor, clip: Evaluator, classifier: AttributeClassifier
) -> dict[str, dict[str, float]]:
    """Return Fréchet distances in the features of CLIP and of the classifier.

    "distance" compares the n images `generated` from the captions of the first n scenes, with the `renders` of
    the next n scenes. "floor" compares the first n renders with those of the next n scenes: the lowest distance to
    expect. The ratios divide by the floor: for `generated`, and for the first n images `decoded` by the autoencoder."""
    n = len(generated)
    spaces = {"clip": clip.embed_images, "classifier": classifier.features}
    found = {}
    for name, features in spaces.items():
        others, *some = (
            torch.cat([features(x) for x in pictures.split(64)])
            for pictures in (renders[n : 2 * n], renders[:n], decoded[:n], generated)
        )
        floor, through, distance = (frechet_distance(one, others) for one in some)
        found[name] = {
            "distance": distance,
            "floor": floor,
            "ratio": distance / floor,
            "ratio_of_reconstructions": through / floor,
        }
    return found


def faces_kept(
    on_renders: Mapping[str, float], on_reconstructions: Mapping[str, float], truth: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """Return for each label of a face how much better than a guess the classifier is on reconstructions, as a share of
    how much better it is on renders. A guess is the commonest value in `truth`, the labels of each image. "mean" is the
    share of the means."""
    values = {label: [one[label] for one in truth if label in one] for label in INDIVIDUAL}
    guess = {label: Counter(found).most_common(1)[0][1] / len(found) for label, found in values.items()}
    kept, known = ({x: scores[x] - guess[x] for x in INDIVIDUAL} for scores in (on_reconstructions, on_renders))
    return {label: kept[label] / known[label] for label in INDIVIDUAL} | {
        "mean": sum(kept.values()) / sum(known.values())
    }


def faces_seen(classifier: AttributeClassifier, images: Tensor, truth: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Return how often the classifier sees a face in images that have one, "there", and in those that have none, "not
    there"."""
    seen = np.array(classifier.names(images)["face"]) == "face"
    there = np.array([one["face"] == "face" for one in truth])
    return {"there": float(seen[there].mean()), "not there": float(seen[~there].mean())}
