"""Everything also works with CLIP as the text encoder, as in Stable Diffusion 1."""

import json

import pytest
import torch

from ldm.modules.clip_text import CLIPTextEncoder
from ldm.sampling import Sampler
from textual_inversion.embedding_manager import EmbeddingManager, initial_vectors
from textual_inversion.generation import generate_images, manager_of
from textual_inversion.words.file import LearnedWord

PLACEHOLDERS = ["S*", "*", "<cat-toy>", "my cat", "🐱", "חתול", "CAPITALS", "Étoile", "a.b"]
SENTENCES = ["{}", "a photo of {} on the moon", "{}, a cat", "a cat ({})", "{}'s hat", "a photo of {}.", '"{}"!']
WORDS = ("cat", "owl", "photo")


@pytest.fixture
def text(clip_vocabulary):
    torch.manual_seed(0)
    size = len(json.loads((clip_vocabulary / "vocab.json").read_text()))
    return (
        CLIPTextEncoder(clip_vocabulary, size, 16, depth=2, heads=2, inner=32, max_length=48)
        .requires_grad_(False)
        .eval()
    )


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_any_string_stands_for_its_vectors_wherever_it_is_put(text, placeholder):
    owl = text.embed(torch.tensor(text.tokenizer.pieces("owl")))
    assert len(owl) == 1
    embeddings = EmbeddingManager(text.tokenizer, {placeholder: owl})
    prompts = [sentence.format(placeholder) for sentence in SENTENCES]
    assert torch.equal(embeddings.encode(text, prompts), text([sentence.format("owl") for sentence in SENTENCES]))


@pytest.mark.parametrize("k", [2, 3])
def test_several_vectors_take_as_many_places(text, k):
    table = text.embed(torch.tensor(text.tokenizer.pieces("cat owl photo")))[:k]
    embeddings = EmbeddingManager(text.tokenizer, {"S*": table})
    expected = text([f"a {' '.join(WORDS[:k])}."])
    assert torch.equal(embeddings.encode(text, ["a S*."]), expected)


def test_an_initializer_is_the_bare_row_of_its_word(text):
    """The original adds the embedding of the first position, which the encoder then adds again."""
    (index,) = text.tokenizer.pieces("cat")
    row = text.state_dict()["transformer.text_model.embeddings.token_embedding.weight"][index]
    assert torch.equal(initial_vectors(text, "cat", 2), row.expand(2, -1))


@pytest.fixture
def stable_diffusion(build_ldm, awaken, text):
    return awaken(build_ldm(text_encoder=text)).eval()


@pytest.mark.filterwarnings("ignore:Found .* in eval mode")
def test_inversion_moves_the_vectors_and_nothing_else(stable_diffusion, inversion, concept, trainer):
    module = inversion(concept("<cat-toy>", num_vectors=2), ldm=stable_diffusion)
    before = {name: value.clone() for name, value in stable_diffusion.state_dict().items()}
    start = module.embeddings.vectors[0].detach().clone()
    trainer(2).fit(module)
    assert (module.embeddings.vectors[0] != start).any(dim=1).all()
    assert all(torch.equal(value, before[name]) for name, value in stable_diffusion.state_dict().items())


def test_a_learned_word_generates(stable_diffusion):
    (cat,) = initial_vectors(stable_diffusion.text_encoder, "cat", 1)

    def image(prompt, vector):
        embeddings = manager_of(stable_diffusion, [LearnedWord("<cat-toy>", vector[None])])
        return generate_images(stable_diffusion, [prompt], embeddings, seed=0, sampler=Sampler(2), guidance=2.0)

    plain = image("a photo of cat", cat)
    assert plain.isfinite().all() and torch.equal(image("a photo of <cat-toy>", cat), plain)
    assert not torch.allclose(image("a photo of <cat-toy>", -cat), plain, atol=1e-3)
