"""The published models are told apart by names and shapes."""

import pytest
import torch

from ldm.weights.family import describe_family, family

KEY = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def weights(width: int, **more) -> dict:
    return {KEY: torch.empty(320, width, device="meta"), **more}


@pytest.mark.parametrize(
    ("width", "name", "advice"),
    [
        (1280, "1.4B text-to-image LDM", "use scale=paper"),
        (768, "Stable Diffusion 1", "use scale=stable_diffusion"),
        (1024, "Stable Diffusion 2", "not supported"),
        (2048, "Stable Diffusion XL", "not supported"),
        (256, "Toyland", "use scale=toyland"),
    ],
)
def test_the_width_of_the_text_names_the_family_and_what_to_do(width, name, advice):
    text = describe_family(weights(width))
    assert name in text and advice in text


def test_the_second_text_encoder_of_xl_names_it():
    xl = weights(2048) | {"conditioner.embedders.0.transformer.x": torch.empty(1)}
    assert family(xl) == "Stable Diffusion XL"


def test_other_files_belong_to_no_family():
    assert family({"w": torch.empty(3, 3)}) is None and "no model that is known" in describe_family({})
