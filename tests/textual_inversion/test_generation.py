from functools import partial

import pytest
import torch

from ldm.sampling import Sampler, ancestral, ddim, every_timestep
from textual_inversion.generation import generate_images, manager_of
from textual_inversion.prompts import check_prompts, encode_prompts
from textual_inversion.words.file import LearnedWord, load_words, save_words

PROMPTS = ["a photo of S*", "a photo of S* on the moon", "T* and S*", "a photo of T*", "S*"]


@pytest.fixture
def words():
    rng = torch.Generator().manual_seed(0)
    return [LearnedWord("S*", torch.randn(2, 16, generator=rng)), LearnedWord("T*", torch.randn(1, 16, generator=rng))]


def generate(ldm, prompts, embeddings=None, **options):
    return generate_images(
        ldm, prompts, embeddings, **{"sampler": Sampler(2), "guidance": 3.0, "progress": False} | options
    )


def test_a_picture_depends_on_its_prompt_seed_and_index_not_on_its_batch(tiny_ldm, words):
    embeddings = manager_of(tiny_ldm, words)
    pictures = generate(tiny_ldm, PROMPTS, embeddings, batch_size=5)
    assert pictures.shape == (5, 3, 16, 16) and pictures.abs().max() <= 1
    for batch_size in (1, 2):
        torch.testing.assert_close(generate(tiny_ldm, PROMPTS, embeddings, batch_size=batch_size), pictures)
    later = generate(tiny_ldm, PROMPTS[3:], embeddings, indices=range(3, 5))
    torch.testing.assert_close(later, pictures[3:])
    assert not torch.allclose(generate(tiny_ldm, PROMPTS[:1], embeddings, seed=1), pictures[:1])
    assert not torch.allclose(generate(tiny_ldm, ["a photo of T*"], embeddings), pictures[:1])


@pytest.mark.parametrize("sampler", [Sampler(5, ancestral, every_timestep), Sampler(4, partial(ddim, eta=1.0))])
def test_the_noise_of_every_step_depends_on_seed_picture_and_step_alone(tiny_ldm, sampler):
    one, four = (generate(tiny_ldm, ["a photo of a cat"] * 4, sampler=sampler, batch_size=size) for size in (1, 4))
    torch.testing.assert_close(one, four, rtol=0, atol=1e-5)  # rounding in the UNet depends on the batch size
    assert torch.equal(tiny_ldm.noise(0, range(4), 7), torch.cat([tiny_ldm.noise(0, [i], 7) for i in range(4)]))
    assert not torch.allclose(one[0], one[1])
    draws = [tiny_ldm.noise(0, [1]), *(tiny_ldm.noise(0, [1], step) for step in range(3))]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


def test_the_same_prompt_twice_is_two_pictures(tiny_ldm):
    first, second = generate(tiny_ldm, ["a photo of a cat"] * 2)
    assert not torch.allclose(first, second)


def test_without_learned_words_prompts_are_the_model_s_own(tiny_ldm, words):
    prompts = ["a photo of a cat"]
    assert torch.equal(generate(tiny_ldm, prompts), generate(tiny_ldm, prompts, manager_of(tiny_ldm, words)))


def test_a_file_of_words_encodes_as_the_learner_that_wrote_it(tiny_ldm, inversion, concept, tmp_path):
    learner = inversion(concept("S*", num_vectors=2), concept("T*", "owl"))
    for vectors in learner.embeddings.vectors:
        torch.nn.init.normal_(vectors.data)
    pairs = zip(learner.embeddings.placeholders, learner.embeddings.vectors, strict=True)
    save_words(tmp_path / "words.safetensors", [LearnedWord(*pair) for pair in pairs])
    loaded = manager_of(tiny_ldm, load_words(tmp_path / "words.safetensors", width=16))
    text = tiny_ldm.cond_stage_model
    assert torch.equal(loaded.encode(text, PROMPTS), learner.embeddings.encode(text, PROMPTS))


def test_a_prompt_that_mentions_no_learned_word_is_an_error(tiny_ldm, words):
    embeddings = manager_of(tiny_ldm, words)
    check_prompts(PROMPTS, embeddings)
    with pytest.raises(ValueError, match=r"the prompt 'a photo of a cat' does not mention 'S\*' or 'T\*'"):
        check_prompts(["a photo of S*", "a photo of a cat"], embeddings)


def test_an_empty_negative_prompt_changes_nothing_and_another_one_does(tiny_ldm, words):
    embeddings = manager_of(tiny_ldm, words)
    text = tiny_ldm.cond_stage_model
    assert torch.equal(encode_prompts(text, [""], embeddings), text([text.unconditional]))
    plain = generate(tiny_ldm, PROMPTS, embeddings)
    for nothing in ("", " ", "(blue:0)"):
        assert torch.equal(generate(tiny_ldm, PROMPTS, embeddings, negative_prompt=nothing), plain)
    for negative in ("blue", "T*"):
        changed = (generate(tiny_ldm, PROMPTS, embeddings, negative_prompt=negative) - plain).abs()
        assert changed.mean(dim=(1, 2, 3)).min() > 0.001
    unguided = [generate(tiny_ldm, PROMPTS, embeddings, guidance=1.0, negative_prompt=n) for n in ("", "blue")]
    assert torch.equal(*unguided)


def test_a_negative_prompt_needs_no_word_but_none_that_is_unknown(tiny_ldm, words):
    embeddings = manager_of(tiny_ldm, words)
    check_prompts(["S* and T*"], embeddings, strict=True, negative_prompt="a blue cat")
    for negative, said in [
        ("a \udcff cat", "no text in UTF-8"),
        ("<owl>", "mentions <owl>"),
        ("S_b", "mentions S_b"),
        ("s*", "capitals count"),
    ]:
        with pytest.raises(ValueError, match=said):
            check_prompts(["T*"], embeddings, negative_prompt=negative)


def test_a_filled_batch_makes_each_of_its_pictures_again_to_the_bit(tiny_ldm, words):
    embeddings = manager_of(tiny_ldm, words)
    together = generate(tiny_ldm, PROMPTS, embeddings, negative_prompt="blue")
    for i, prompt in enumerate(PROMPTS):
        alone = {"indices": [i], "batch_size": len(PROMPTS), "negative_prompt": "blue"}
        assert torch.equal(generate(tiny_ldm, [prompt], embeddings, fill=True, **alone)[0], together[i])
