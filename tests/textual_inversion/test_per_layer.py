"""Words with a vector for each cross-attention layer, alone, in packs, in prompts and in files."""

from dataclasses import replace

import pytest
import torch

from ldm.sampling import Sampler
from textual_inversion.embedding_manager import EmbeddingManager
from textual_inversion.evaluation.subjects import Pipeline
from textual_inversion.generation import generate_images, manager_of
from textual_inversion.pack import Pack
from textual_inversion.setups import PerLayer
from textual_inversion.words.file import LearnedWord, load_words, save_words

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")

LAYERS = 4  # of the tiny model: one on the way down, one in the middle, two on the way up


def vectors(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def generate(ldm, prompts, *words, **options):
    settings = {"sampler": Sampler(3), "guidance": 3.0, "progress": False}
    return generate_images(ldm, prompts, manager_of(ldm, words), **settings | options)


def test_every_layer_reads_the_prompt_with_its_own_vector(tiny_ldm):
    text, own, other = tiny_ldm.text_encoder, vectors(2, LAYERS, 16), vectors(1, 16)
    prompts = ["a photo of S*", "T* and S* on the moon"]
    c = EmbeddingManager(text.tokenizer, {"S*": own, "T*": other}).encode(text, prompts)
    assert c.shape == (2, LAYERS, text.max_length, 16)
    for layer in range(LAYERS):
        alone = EmbeddingManager(text.tokenizer, {"S*": own[:, layer], "T*": other}).encode(text, prompts)
        torch.testing.assert_close(c[:, layer], alone)


def test_a_word_with_the_same_vector_for_every_layer_is_the_word_with_that_vector(tiny_ldm):
    plain = LearnedWord("S*", vectors(2, 16))
    layered = LearnedWord("S*", plain.vectors[:, None].repeat(1, LAYERS, 1))
    prompts = ["a photo of S*", "a photo of S* (on the moon:1.4) and [a cat]"]
    options = [{}, {"guidance": 1.0}, {"negative_prompt": "a S* in the city"}, {"batch_size": 1}]
    for each in options:
        images = [generate(tiny_ldm, prompts, word, **each) for word in (plain, layered)]
        torch.testing.assert_close(*images, rtol=0, atol=1e-4)
    mixed = [generate(tiny_ldm, ["S* and T*"], word, LearnedWord("T*", vectors(1, 16))) for word in (plain, layered)]
    torch.testing.assert_close(*mixed, rtol=0, atol=1e-4)
    assert not torch.allclose(mixed[0], generate(tiny_ldm, ["S* and S*"], plain), atol=1e-2)


def test_a_picture_is_inverted_and_made_again_with_a_vector_per_layer(tiny_ldm):
    embeddings = manager_of(tiny_ldm, [LearnedWord("S*", vectors(1, LAYERS, 16))])
    pipeline = Pipeline(tiny_ldm, Sampler(4), guidance=1.0)
    images = torch.randint(256, (3, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    z_T = pipeline.invert(images, "a photo of S*", embeddings)
    assert z_T.shape == (3, 4, 8, 8)
    one = pipeline.invert(images[:1], "a photo of S*", embeddings)
    torch.testing.assert_close(z_T[:1], one, rtol=0, atol=1e-4)


def test_each_layer_learns_a_vector_of_its_own_from_the_coarse_word(inversion, concept, trainer):
    learner = inversion(concept(num_vectors=2, setup=PerLayer()))
    start = inversion(concept(num_vectors=2)).initial["S*"]
    assert torch.equal(learner.initial["S*"], start[:, None].expand(2, LAYERS, 16))
    trainer(4).fit(learner)
    learned = learner.learned(learner.concepts[0], 4)
    assert learned.shape == (2, LAYERS, 16)
    apart = torch.cdist(learned.transpose(0, 1).flatten(1), learned.transpose(0, 1).flatten(1))
    assert (apart[~torch.eye(LAYERS, dtype=torch.bool)] > 1e-3).all()
    metrics = learner.validation_metrics(torch.ones(1))
    torch.testing.assert_close(metrics["val/norm/S*"], learned.norm(dim=2).mean())


def test_the_gradient_of_a_layer_is_that_of_its_own_reading(inversion, concept):
    learner, plain = inversion(concept(setup=PerLayer())), inversion(concept())
    for module in (learner, plain):
        module.on_fit_start()
        module.losses(module.draw(0)).sum().backward()
    by_layer, whole = learner.embeddings.vectors[0].grad, plain.embeddings.vectors[0].grad
    assert (by_layer.norm(dim=2) > 0).all()
    torch.testing.assert_close(by_layer.sum(dim=1), whole)  # the coarse word in all layers: the parts sum to the whole


def test_in_a_pack_with_others_a_word_learns_what_it_learns_alone(inversion, concept, trainer):
    def runs():
        return [
            inversion(concept(setup=PerLayer())),
            inversion(concept()),
            inversion(concept(seed=3, setup=PerLayer())),
        ]

    pack = Pack(runs())
    trainer(4).fit(pack)
    for together, alone in zip(pack.runs, runs(), strict=True):
        trainer(4).fit(alone)
        a, b = together.embeddings.vectors[0], alone.embeddings.vectors[0]
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_two_words_of_one_run_may_differ_in_their_setups(inversion, concept, trainer):
    learner = inversion(concept(setup=PerLayer()), concept("T*", "owl"))
    alone = inversion(concept("T*", "owl"))
    trainer(3).fit(learner)
    trainer(3).fit(alone)
    assert [len(v.shape) for v in learner.embeddings.vectors] == [3, 2]
    torch.testing.assert_close(learner.embeddings.vectors[1], alone.embeddings.vectors[0], rtol=1e-5, atol=1e-6)


def test_a_word_per_layer_is_kept_in_a_file_that_older_code_refuses(tmp_path):
    word = LearnedWord("S*", vectors(2, LAYERS, 16), {"initializer": "cat"})
    word.save(tmp_path / "layers.safetensors")
    (found,) = load_words(tmp_path / "layers.safetensors", width=16)
    assert torch.equal(found.vectors, word.vectors) and found.digest == word.digest
    assert (found.layers, found.width, found.provenance["width"]) == (LAYERS, 16, 16)
    assert b'"format_version":"2"' in (tmp_path / "layers.safetensors").read_bytes()
    save_words(tmp_path / "plain.safetensors", [LearnedWord("S*", vectors(2, 16))])
    assert b'"format_version":"1"' in (tmp_path / "plain.safetensors").read_bytes()


def test_a_word_of_another_unet_is_refused(tiny_ldm):
    word = LearnedWord("S*", vectors(1, LAYERS + 3, 16))
    message = rf"'S\*' has vectors for {LAYERS + 3} cross-attention layers, the model has {LAYERS}"
    with pytest.raises(ValueError, match=message):
        manager_of(tiny_ldm, [word])


def test_learning_goes_on_from_a_word_that_the_setup_can_read(tmp_path, inversion, concept):
    plain, layered = LearnedWord("S*", vectors(1, 16)), LearnedWord("S*", vectors(1, LAYERS, 16))
    paths = [tmp_path / "plain.safetensors", tmp_path / "layered.safetensors"]
    for word, path in zip((plain, layered), paths, strict=True):
        word.save(path)
    from_plain, from_layered = (inversion(concept(setup=PerLayer(), start=str(path))) for path in paths)
    assert torch.equal(from_plain.initial["S*"], plain.vectors[:, None].expand(1, LAYERS, 16))
    assert torch.equal(from_layered.initial["S*"], layered.vectors)
    with pytest.raises(ValueError, match=r"has vectors for each layer: learn on with setup=per_layer"):
        inversion(concept(start=str(paths[1])))
    replace(layered, vectors=vectors(1, LAYERS + 1, 16)).save(paths[1])
    with pytest.raises(ValueError, match=f"for {LAYERS + 1} cross-attention layers, the model has {LAYERS}"):
        inversion(concept(setup=PerLayer(), start=str(paths[1])))
