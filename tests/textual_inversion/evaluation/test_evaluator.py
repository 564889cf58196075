"""A CLIP loaded from a folder embeds images and texts as transformers does."""

from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from ldm.images import to_tensor
from textual_inversion.evaluation.evaluator import OPENAI_MEAN, OPENAI_STD, Evaluator, load_clip

SIDE = 16
TEXTS = ["photo", "cat owl", "photo cat photo owl"]


@pytest.fixture(scope="module")
def folder(clip_vocabulary, tmp_path_factory):
    """A tiny CLIP with its tokenizer, saved in the layout of a download."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = CLIPTokenizer(str(clip_vocabulary / "vocab.json"), str(clip_vocabulary / "merges.txt"))
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 12}
    text |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    vision = {"image_size": SIDE, "patch_size": 4}
    torch.manual_seed(0)
    CLIPModel(
        CLIPConfig(vision_config=tower | vision, text_config=tower | text, projection_dim=8, initializer_factor=20.0)
    ).save_pretrained(folder)
    tokenizer.model_max_length = 12
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def clip(folder) -> Evaluator:
    return load_clip(str(folder)).eval()


@pytest.fixture
def theirs(folder) -> CLIPModel:
    return CLIPModel.from_pretrained(folder).eval()


def pictures(side: int = SIDE) -> np.ndarray:
    """Smooth images, uint8."""
    coarse = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype(np.float32)
    x = F.interpolate(torch.from_numpy(coarse).permute(0, 3, 1, 2), size=side, mode="bilinear")
    return x.permute(0, 2, 3, 1).round().byte().numpy()


def seen(theirs: CLIPModel, images: np.ndarray, **settings) -> torch.Tensor:
    """Embed the images with the preprocessing and the model of transformers."""
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    pixels = processor(list(images), return_tensors="pt", **settings)["pixel_values"]
    features = cast(Any, theirs.get_image_features(pixel_values=pixels))
    return F.normalize(features.pooler_output, dim=-1)


@torch.no_grad()
def test_pictures_are_embedded_as_by_transformers(clip, theirs):
    images = pictures()
    embedded = clip.embed_images(to_tensor(images))
    torch.testing.assert_close(embedded, seen(theirs, images), atol=1e-5, rtol=0)
    assert float((embedded @ embedded.T).min()) < 0.999


@torch.no_grad()
def test_larger_pictures_are_shrunk_as_by_transformers(clip, theirs):
    images = pictures(40)
    torch.testing.assert_close(clip.embed_images(to_tensor(images)), seen(theirs, images), atol=0.02, rtol=0)


@torch.no_grad()
def test_the_pictures_are_standardised_by_the_mean_and_std_of_openai(clip):
    assert (clip.mean, clip.std) == (OPENAI_MEAN, OPENAI_STD)
    x = to_tensor(pictures())
    plain = Evaluator(clip.model, clip.tokenize, SIDE)
    by_hand = ((x + 1) / 2 - torch.tensor(OPENAI_MEAN)[:, None, None]) / torch.tensor(OPENAI_STD)[:, None, None]
    torch.testing.assert_close(plain.embed_images(by_hand), clip.embed_images(x))
    assert not torch.allclose(plain.embed_images(x), clip.embed_images(x), atol=1e-3)


@torch.no_grad()
def test_sentences_are_embedded_as_by_transformers(clip, theirs, folder):
    tokens = CLIPTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    expected = F.normalize(theirs.get_text_features(**tokens).pooler_output, dim=-1)
    embedded = clip.embed_texts(TEXTS)
    torch.testing.assert_close(embedded, expected, atol=1e-5, rtol=0)
    assert float((embedded @ embedded.T).min()) < 0.999


@torch.no_grad()
def test_a_sentence_is_the_same_beside_longer_ones_and_one_too_long_is_cut(clip):
    torch.testing.assert_close(clip.embed_texts(TEXTS)[0], clip.embed_texts(TEXTS[:1])[0])
    assert clip.tokenize(["photo " * 30]).shape == (1, 12)


@torch.no_grad()
def test_embeddings_have_unit_length(clip):
    for embedded in (clip.embed_images(to_tensor(pictures())), clip.embed_texts(TEXTS)):
        assert embedded.shape == (3, 8)
        torch.testing.assert_close(embedded.norm(dim=-1), torch.ones(3))


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_a_clip_ends_in_one_sentence_that_says_how_to_get_it(tmp_path, made):
    folder = tmp_path / "clip_vit_b32"
    if made:
        folder.mkdir()
    with pytest.raises(ValueError, match=r"no CLIP at .*clip_vit_b32: python scripts/fetch\.py model=\w+ downloads"):
        load_clip(str(folder))
