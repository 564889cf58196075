"""Words that a mapper makes from the timestep and the cross-attention layer: mapper, learning, prompts and files."""

import pytest
import torch

from ldm.sampling import Sampler, at, guided
from textual_inversion.evaluation.pivotal import concept_of
from textual_inversion.generation import generate_images, manager_of
from textual_inversion.mapper import HIDDEN, PER_LAYER, PER_STEP, TIMES, Mapper
from textual_inversion.pack import Pack
from textual_inversion.prompts import encode_prompts
from textual_inversion.setups import PerLayer, SpaceTime
from textual_inversion.words.file import LearnedWord

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")

LAYERS = 4  # of the tiny model


def random_mapper(vectors, seed=1):
    """Return a mapper whose last layer is random, as after a training."""
    rng = torch.Generator().manual_seed(seed)
    mapper = Mapper(vectors.norm(dim=1), LAYERS, vectors.shape[1], 1000, rng)
    with torch.no_grad():
        mapper.output.weight.normal_(std=30.0, generator=rng)
    return mapper.requires_grad_(False)


@pytest.fixture
def vectors():
    return torch.randn(2, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def word(vectors):
    return LearnedWord("S*", vectors, {"initializer": "cat"}, mapper=random_mapper(vectors).state_dict())


def generate(ldm, prompts, *words, **options):
    settings = {"sampler": Sampler(3), "guidance": 3.0, "progress": False}
    return generate_images(ldm, prompts, manager_of(ldm, words), **settings | options)


def test_positions_are_encoded_by_what_random_fourier_features_give_on_average(vectors):
    mapper, t = random_mapper(vectors), torch.tensor([50, 77, 999])
    encoded = mapper.encode(t)
    assert encoded.shape == (3, LAYERS, TIMES * LAYERS)
    assert encoded[0].argmax(dim=1).tolist() == list(range(LAYERS))  # t = 50 is the first anchor of every layer
    assert encoded[0, 1, 1] == 1.0
    frequencies = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [PER_STEP, PER_LAYER]
    )
    places = torch.cartesian_prod(t.float(), torch.arange(LAYERS).float())
    phases = (places[:, None] - mapper.anchors) @ frequencies.T
    torch.testing.assert_close(encoded.flatten(0, 1), phases.cos().mean(dim=-1), rtol=0, atol=0.03)


def test_before_training_the_word_is_the_coarse_word_everywhere(vectors):
    mapper = SpaceTime().mapper(vectors, LAYERS, 1000, seed=3)
    made = mapper(vectors, torch.tensor([0, 500, 999]))
    torch.testing.assert_close(made, vectors[:, None].expand(3, 2, LAYERS, 16))
    again = SpaceTime().mapper(vectors, LAYERS, 1000, seed=3).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in mapper.state_dict().items())


def test_dropped_units_are_the_last_ones(vectors):
    mapper, t = random_mapper(vectors), torch.tensor([10, 10, 10])
    made = mapper(vectors, t, kept=torch.tensor([1.0, 0.25, 0.0]))
    torch.testing.assert_close(made[:1], mapper(vectors, t[:1]))
    torch.testing.assert_close(made[2], vectors[:, None].expand(2, LAYERS, 16))
    mapper.output.weight[:, HIDDEN // 4 :] = 0.0
    torch.testing.assert_close(made[1:2], mapper(vectors, t[:1]))
    assert not torch.allclose(made[0], made[1], atol=0.1)


def test_half_of_the_samples_keep_a_share_that_is_uniform():
    rng = torch.Generator().manual_seed(0)
    shares = torch.tensor([SpaceTime(0.5).kept(rng) for _ in range(4000)])
    whole = shares == 1.0
    assert float(whole.float().mean()) == pytest.approx(0.5, abs=0.03)
    assert shares[~whole].quantile(torch.tensor([0.25, 0.5, 0.75])).tolist() == pytest.approx(
        [0.25, 0.5, 0.75], abs=0.03
    )
    assert SpaceTime(0.0).kept(rng) == 1.0
    with pytest.raises(ValueError, match="dropout is 2: it must be between 0 and 1"):
        SpaceTime(2)


def test_the_word_learns_to_differ_with_time_and_layer_and_keeps_its_norm(inversion, concept, trainer):
    learner = inversion(concept(num_vectors=2, setup=SpaceTime()))
    before = [parameter.detach().clone() for parameter in learner.embeddings.parameters()]
    trainer(8).fit(learner)
    changed = [not torch.equal(a, b) for a, b in zip(before, learner.embeddings.parameters(), strict=True)]
    assert all(changed)
    made = learner.embeddings.mapper("S*")(learner.embeddings.vectors[0], torch.tensor([50, 950]))
    norms = learner.initial["S*"].norm(dim=1)
    torch.testing.assert_close(made.norm(dim=-1), norms[:, None].expand(2, 2, LAYERS))
    assert (made[0] - made[1]).norm(dim=-1).min() > 1e-4
    assert (made[:, :, 0] - made[:, :, 1]).norm(dim=-1).min() > 1e-4


def test_every_sample_is_learned_at_its_own_timestep(inversion, concept):
    learner = inversion(concept(setup=SpaceTime()))
    with torch.no_grad():
        learner.embeddings.mapper("S*").output.weight.normal_(std=30.0)
    learner.on_fit_start()
    batch = learner.draw(0) | {"kept": torch.ones(2)}
    rows = learner.embed(batch)
    made = learner.embeddings.mapper("S*")(learner.embeddings.vectors[0], batch["t"])
    place = (batch["ids"] >= learner.ldm.text_encoder.vocab_size).nonzero()[:, 1]
    for sample in range(2):
        torch.testing.assert_close(rows[sample, :, place[sample]], made[sample, 0])
    assert all((each["kept"] == 1.0).all() for each in learner.validation_batches())


def test_in_every_sampling_step_the_prompt_says_the_word_of_that_timestep(tiny_ldm, word):
    embeddings, prompts = manager_of(tiny_ldm, [word]), ["a photo of S*", "(S*:1.3) on the moon"]
    c = encode_prompts(tiny_ldm.text_encoder, prompts, embeddings)
    mapper = Mapper.of(word.mapper)
    uncond = tiny_ldm.cond_stage_model([""])
    z_t = tiny_ldm.noise(0, [0, 1])
    for time in (21, 981):
        t = torch.full((2,), time)
        fixed = manager_of(tiny_ldm, [LearnedWord("S*", mapper(word.vectors, t[:1])[0])])
        expected = encode_prompts(tiny_ldm.text_encoder, prompts, fixed)
        torch.testing.assert_close(at(c, t), expected)
        eps = [guided(tiny_ldm.eps, each, uncond, 3.0)(z_t, t) for each in (c, expected)]
        torch.testing.assert_close(*eps, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(at(c, torch.tensor([21])), at(c, torch.tensor([981])), atol=0.1)


def test_a_mapper_that_adds_nothing_leaves_the_word_as_its_vectors(tiny_ldm, vectors):
    rng = torch.Generator()
    mapper = Mapper(vectors.norm(dim=1), LAYERS, 16, 1000, rng)
    plain, mapped = LearnedWord("S*", vectors), LearnedWord("S*", vectors, mapper=mapper.state_dict())
    other = LearnedWord("T*", torch.randn(1, LAYERS, 16, generator=torch.Generator().manual_seed(5)))
    for options in ({}, {"guidance": 1.0}, {"negative_prompt": "S* in the city"}):
        images = [generate(tiny_ldm, ["a S* and T*", "S*"], word, other, **options) for word in (plain, mapped)]
        torch.testing.assert_close(*images, rtol=0, atol=1e-4)


def test_in_a_pack_with_others_a_word_learns_what_it_learns_alone(inversion, concept, trainer):
    def runs():
        setups = (SpaceTime(), None, PerLayer(), SpaceTime(0.0))
        return [inversion(concept(seed=i, **({"setup": s} if s else {}))) for i, s in enumerate(setups)]

    pack = Pack(runs())
    trainer(4).fit(pack)
    for together, alone in zip(pack.runs, runs(), strict=True):
        trainer(4).fit(alone)
        ids, t = alone.embeddings.tokenize(["S*"] * 3), torch.tensor([0, 400, 999])
        a, b = (run.embeddings.embed(ids, run.ldm.text_encoder.embed, t) for run in (together, alone))
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_training_goes_on_bit_for_bit(inversion, concept, trainer, tmp_path):
    straight, stopped, again = (inversion(concept(setup=SpaceTime())) for _ in range(3))
    trainer(6).fit(straight)
    first = trainer(3)
    first.fit(stopped)
    first.save_checkpoint(tmp_path / "last.ckpt")
    trainer(6).fit(again, ckpt_path=tmp_path / "last.ckpt")
    for a, b in zip(straight.embeddings.parameters(), again.embeddings.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_file_holds_the_mapper_and_gives_the_same_pictures(tiny_ldm, word, tmp_path):
    file = tmp_path / "word.safetensors"
    word.save(file)
    loaded = LearnedWord.load(file)
    assert loaded.digest == word.digest != LearnedWord("S*", word.vectors).digest
    assert (loaded.layers, loaded.width) == (LAYERS, 16) and b'"format_version":"2"' in file.read_bytes()
    images = [generate(tiny_ldm, ["a photo of S*"], each) for each in (word, loaded, loaded.named("S*"))]
    assert all(torch.equal(images[0], each) for each in images[1:])
    assert not torch.allclose(
        images[0], generate(tiny_ldm, ["a photo of S*"], LearnedWord("S*", word.vectors)), atol=0.01
    )


def test_the_learners_word_is_its_vectors_and_its_mapper(inversion, concept, trainer):
    learner = inversion(concept(setup=SpaceTime()))
    trainer(3).fit(learner)
    found, t = learner.word(learner.concepts[0], 3), torch.tensor([7])
    made = [
        Mapper.of(found.mapper)(found.vectors, t),
        learner.embeddings.mapper("S*")(learner.embeddings.vectors[0], t),
    ]
    assert torch.equal(*made)
    assert learner.numbers(3, learner.concepts[0]).numel() == found.vectors.numel() + sum(
        tensor.numel() for tensor in found.mapper.values()
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"norms": None}, "its mapper is broken"),
        ({"output.weight": torch.zeros(7, HIDDEN)}, "its mapper is broken"),
        ({"norms": torch.tensor([1.0, float("nan")])}, "NaN or infinite"),
        (
            {"norms": torch.ones(1), "output.weight": torch.zeros(16, HIDDEN)},
            r"is for vectors \[1, 16\], not \[2, 16\]",
        ),
    ],
)
def test_a_broken_mapper_is_refused(word, change, what):
    tensors = {name: x for name, x in (word.mapper | change).items() if x is not None}
    with pytest.raises(ValueError, match=what):
        LearnedWord("S*", word.vectors, mapper=tensors)


def test_what_needs_vectors_refuses_a_mapper(tiny_ldm, word, tmp_path, concept, inversion):
    word.save(tmp_path / "word.safetensors")
    with pytest.raises(ValueError, match="learning on from a word needs vectors: take a word of another setup"):
        inversion(concept(num_vectors=2, start=str(tmp_path / "word.safetensors")))
    with pytest.raises(ValueError, match="tuning a model around a word needs vectors"):
        concept_of(word, tmp_path, ["a photo of {}"], 0.01, 0, None)
    other = Mapper(word.vectors.norm(dim=1), LAYERS + 2, 16, 1000, torch.Generator())
    with pytest.raises(ValueError, match=f"for {LAYERS + 2} cross-attention layers, the model has {LAYERS}"):
        manager_of(tiny_ldm, [LearnedWord("S*", word.vectors, mapper=other.state_dict())])
    with pytest.raises(ValueError, match=r"'S\*' depends on the timestep: pass t"):
        manager_of(tiny_ldm, [word]).encode(tiny_ldm.text_encoder, ["S*"])
