"""Identify the published model that a file belongs to, from the names and shapes of its tensors."""

from collections.abc import Mapping

from torch import Tensor

# Family -> its constructor in `ldm.models`, which is also the name of its scale; None if it is not supported.
MODELS = {
    "the 1.4B text-to-image LDM (BERT, 1280)": "ldm_1p4b",
    "Stable Diffusion 1 (CLIP, 768)": "stable_diffusion_v1",
    "Stable Diffusion 2 (OpenCLIP, 1024)": None,
    "Stable Diffusion XL": None,
    "the Toyland model (256)": "toyland",
}
OF_WIDTH = {
    1280: "the 1.4B text-to-image LDM (BERT, 1280)",
    768: "Stable Diffusion 1 (CLIP, 768)",
    1024: "Stable Diffusion 2 (OpenCLIP, 1024)",
    256: "the Toyland model (256)",
}


def family(weights: Mapping[str, Tensor]) -> str | None:
    """Return a key of `MODELS`, or None for an unknown file. Checkpoints in the original layout and the UNets of
    diffusers are identified by the context width of their cross-attention."""
    if any(name.startswith("conditioner.embedders.") for name in weights):
        return "Stable Diffusion XL"
    widths = {value.shape[1] for name, value in weights.items() if name.endswith("attn2.to_k.weight")}
    if len(widths) != 1:
        return None
    (width,) = widths
    return "Stable Diffusion XL" if width == 2048 else OF_WIDTH.get(width)


def describe_family(weights: Mapping[str, Tensor]) -> str:
    """Return a sentence for an error message about a file that does not fit the model."""
    found = family(weights)
    if found is None:
        return "The file does not belong to a known model."
    model = MODELS[found]
    return f"The file looks like {found}" + (f": use scale={model}." if model else ", which is not supported.")
