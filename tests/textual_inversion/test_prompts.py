import logging

import pytest
import torch

from ldm.errors import UserError
from ldm.modules.clip_text import BytePairs
from textual_inversion.embedding_manager import EmbeddingManager
from textual_inversion.generation import generate_images, manager_of
from textual_inversion.prompts import check_captions, check_prompts, check_templates, encode_prompts
from textual_inversion.words.file import LearnedWord


@pytest.fixture
def text(build_text_encoder):
    return build_text_encoder(max_length=32).eval().requires_grad_(False)


@pytest.fixture
def manager(text):
    return lambda *words: EmbeddingManager(text.tokenizer, {word: torch.ones(1, text.width) for word in words})


@pytest.fixture
def said(caplog):
    """Return a function that returns the warnings since its last call."""
    caplog.set_level(logging.WARNING)

    def collect():
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return collect


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a photo of S* on the moon", []),
        ("S*, a cat's photo: close-up.", [":"]),
        ("a photo of S* on the moom", ["moom"]),
        ("S* with sunglasses & 🐱", ["sunglasses", "🐱"]),
        ("S* im Café, 1984", ["im", "Café", "1984"]),
        ("一张S*的照片", ["一", "张", "的", "照", "片"]),
        ("moom S* moom", ["moom"]),
    ],
)
def test_unknown_words_are_found_beside_placeholders(manager, prompt, unknown):
    assert manager("S*").unknown(prompt) == unknown


def test_a_byte_pair_tokenizer_names_what_it_spells(clip_vocabulary):
    tokenizer = BytePairs(clip_vocabulary, max_length=16)
    assert tokenizer.unknown("a photo, cat and dog 1 猫") == ["and", "dog", "猫"]


def test_each_text_is_named_once_with_what_is_near(text, manager, said):
    embeddings = manager("S*")
    prompt = "a photo of S* on the moom with sunglasses"
    check_prompts([prompt, prompt], embeddings)
    expected = (
        f"the model does not know 'moom' (near it: moon), 'sunglasses' in {prompt!r}: it cannot show what that says"
    )
    assert said() == [expected]
    encode_prompts(text, [prompt], embeddings)
    check_prompts([prompt], embeddings)
    assert said() == []
    encode_prompts(text, ["a (moom:1.2) and S*"], embeddings)
    assert said() == [
        "the model does not know 'moom' (near it: moon) in 'a moom and S*': it cannot show what that says"
    ]


def test_strict_refuses_what_is_named_otherwise(manager, said):
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"does not know 'moom' \(near it: moon\) .* Use other words, or strict=false"
        ):
            check_prompts(["S* on the moom"], manager("S*"), strict=True)
    with pytest.raises(UserError, match=r"no prompt mentions the learned word 'T\*'"):
        check_prompts(["S*"], manager("S*", "T*"), strict=True)
    with pytest.raises(UserError, match="'cat' is also a word of the model"):
        check_prompts(["a cat"], manager("cat"), strict=True)
    check_prompts(["(S*:1.5) on the [moon]"], manager("S*"), strict=True)
    assert said() == []


@pytest.mark.parametrize(
    ("words", "prompt", "what"),
    [
        (["S*"], "a photo of s*", "says 's*', the learned word is 'S*': capitals count"),
        (["S*", "T*"], "T* next to s*", "says 's*', the learned word is 'S*': capitals count"),
        (["<Cat>"], "a photo of (<cat>:1.2)", "says '<cat>', the learned word is '<Cat>'"),
        (["S*"], "S* next to <owl>", "mentions <owl>, but only 'S*' is given: add word="),
        (["<owl>"], "S* next to <owl>", "mentions S*, but only '<owl>' is given"),
        ([], "a photo of S*", "mentions S*, but no learned word is given"),
        (["S*"], "S* and catS*", "has 'S*' inside of another word"),
        (["S*"], "a photo of a cat", "does not mention 'S*', the learned word"),
        (["S*"], "a photo of (S*", "the ( in the prompt"),
    ],
)
def test_a_prompt_that_cannot_be_meant_is_an_error(manager, words, prompt, what):
    with pytest.raises(UserError) as caught:
        check_prompts([prompt], manager(*words))
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("words", "prompts"),
    [
        (["toy"], ["two toys and a toy"]),
        (["S*", "s*"], ["s* and S*"]),
        (["Cat"], ["Cat and a cat"]),
        (["S*"], ["S*'s hat, (S*)"]),
        (["猫"], ["一只猫在"]),
        (["owl2"], ["一只owl2在"]),
        (["S*"], ["一张S*的"]),
        (["S*-big", "S*"], ["S*-big and S*"]),
        ([], ["a photo of a cat"]),
    ],
)
def test_right_prompts_pass(manager, words, prompts):
    embeddings = manager(*words)
    check_prompts(prompts, embeddings)
    assert set(embeddings.mentions(prompts[0])) == set(words)


def test_doubtful_words_are_named(manager, said):
    check_prompts(["a cat"], manager("cat", "T*"))
    unmentioned, ordinary = said()
    assert unmentioned == "no prompt mentions the learned word 'T*'"
    assert ordinary.startswith("the learned word 'cat' is also a word of the model")
    check_captions(["a photo of a {}"], "cat", manager("cat"))
    (ordinary,) = said()
    assert "'<cat>' keeps both" in ordinary


@pytest.mark.parametrize(("placeholder", "template"), [("photo", "a photo of {}"), ("a", "a {}"), ("S*", "S* or {}")])
def test_a_placeholder_is_no_word_of_a_template(inversion, concept, manager, placeholder, template):
    what = (
        rf"placeholder '{placeholder.replace('*', '[*]')}' is a word of the template '{template.replace('*', '[*]')}'"
    )
    with pytest.raises(UserError, match=what):
        inversion(concept(placeholder, templates=("the {}", template)))
    with pytest.raises(UserError, match=what):
        check_templates([template], placeholder, manager(placeholder))


def test_templates_of_a_setup_and_of_the_sheet_are_checked(inversion, concept, said):
    from textual_inversion.callbacks import ContactSheet
    from textual_inversion.setups import PerImage

    with pytest.raises(UserError, match=r"is a word of the template 'a picture of \{\} with \{\}'"):
        inversion(concept("picture", setup=PerImage(["a picture of {} with {}"])))
    learner = inversion(concept("S*", templates=("a foto of {}",)))
    assert said() == [
        "the model does not know 'foto' (near it: photo) in 'a foto of S*': it cannot show what that says"
    ]
    sheet = ContactSheet("here", "there", ["a {} on the (moom:1.2)"], 1, None, 1.0)
    sheet.on_fit_start(None, learner)
    assert said() == [
        "the model does not know 'moom' (near it: moon) in 'a S* on the moom': it cannot show what that says"
    ]
    with pytest.raises(UserError, match="has no counterpart"):
        ContactSheet("here", "there", ["a {} on the (moon"], 1, None, 1.0).on_fit_start(None, learner)


def test_two_words_of_one_name_are_an_error(tiny_ldm):
    words = [LearnedWord("S*", torch.ones(1, 16)), LearnedWord("S*", torch.zeros(1, 16))]
    with pytest.raises(UserError, match=r"two words share a placeholder"):
        manager_of(tiny_ldm, words)


def test_words_whose_names_overlap_are_learned_apart(inversion, concept):
    learner = inversion(concept("S*"), concept("S*-big", "dog"), concept("S*-1", "owl"), steps=2)
    before = [vectors.clone() for vectors in learner.embeddings.vectors]
    learner.on_fit_start()
    learner.losses(learner.draw(0)).sum().backward()
    learner.configure_optimizers().step()
    own = [id(p) for group in learner.parameter_groups() for p in group["params"]]
    assert len(own) == len(set(own)) == 3
    assert all(not torch.equal(old, new) for old, new in zip(before, learner.embeddings.vectors, strict=True))


def test_generated_images_obey_weights(tiny_ldm):
    from ldm.sampling import Sampler

    def images(prompt):
        return generate_images(tiny_ldm, [prompt], sampler=Sampler(2), guidance=3.0, progress=False)

    assert torch.equal(images("a (red:0) cat"), images("a cat"))
    assert torch.equal(images("a (red:1) cat"), images("a red cat"))
    assert not torch.allclose(images("a (red:1.5) cat"), images("a red cat"))
