"""Scores of images: what the autoencoder keeps, and how far generated images are from renders."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ldm.modules.autoencoder import AutoencoderKL
from textual_inversion.evaluation.classifier import AttributeClassifier
from textual_inversion.evaluation.evaluator import Evaluator
from textual_inversion.evaluation.metrics import frechet_distance

INDIVIDUAL = ("eye_color", "eyes", "mouth", "face_mark")  # labels of a face


def reconstruct(autoencoder: AutoencoderKL, images: Tensor) -> Tensor:
    """Decode images [n, 3, H, W] from their posterior means: an upper bound on the quality of generated images."""
    return torch.cat([autoencoder.decode(autoencoder.encode(x).mean).clamp(-1.0, 1.0) for x in images.split(32)])


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


def faces_kept(on_renders: Mapping[str, float], on_reconstructions: Mapping[str, float]) -> dict[str, float]:
    """Return for each label of a face how often the classifier is right on reconstructions, as a share of how often it
    is right on renders. "mean" is the share of the means."""
    shares = {label: on_reconstructions[label] / on_renders[label] for label in INDIVIDUAL}
    kept, known = (sum(scores[label] for label in INDIVIDUAL) for scores in (on_reconstructions, on_renders))
    return shares | {"mean": kept / known}
