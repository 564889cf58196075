"""Which published model a file belongs to, told from the names and shapes of its tensors."""

from collections.abc import Mapping

from torch import Tensor

# Family -> the config that runs it, None for a family that is not supported.
CONFIGS = {
    "the 1.4B text-to-image LDM (BERT, 1280)": "scale=paper",
    "Stable Diffusion 1 (CLIP, 768)": "scale=stable_diffusion",
    "Stable Diffusion 2 (OpenCLIP, 1024)": None,
    "Stable Diffusion XL": None,
    "the Toyland model (256)": "scale=toyland",
}
OF_WIDTH = {
    1280: "the 1.4B text-to-image LDM (BERT, 1280)",
    768: "Stable Diffusion 1 (CLIP, 768)",
    1024: "Stable Diffusion 2 (OpenCLIP, 1024)",
    256: "the Toyland model (256)",
}


def family(weights: Mapping[str, Tensor]) -> str | None:
    """A key of `CONFIGS`, None for a file of another kind; checkpoints in the original layout and the UNets of
    diffusers are told by the width of the text that their cross-attention reads."""
    if any(name.startswith("conditioner.embedders.") for name in weights):
        return "Stable Diffusion XL"
    widths = {value.shape[1] for name, value in weights.items() if name.endswith("attn2.to_k.weight")}
    if len(widths) != 1:
        return None
    (width,) = widths
    return "Stable Diffusion XL" if width == 2048 else OF_WIDTH.get(width)


def describe_family(weights: Mapping[str, Tensor]) -> str:
    """One sentence for people whose file does not fit."""
    found = family(weights)
    if found is None:
        return "The file belongs to no model that is known here."
    config = CONFIGS[found]
    return f"The file looks like {found}" + (f": use {config}." if config else ", which is not supported.")
