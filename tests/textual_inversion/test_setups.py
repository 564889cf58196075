"""The paper's other ways to learn a word, and two more: what each promises, in a few steps of the tiny model."""

import pytest
import torch

from textual_inversion.pack import Pack
from textual_inversion.setups import Direction, PerImage, Progressive, Regularized, RegularizedPublished, Setup

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")

DUAL = PerImage(("a photo of {} with {}",), share=0.5)


def learned(trainer, *learners, steps=4):
    module = learners[0] if len(learners) == 1 else Pack(learners)
    trainer(steps).fit(module)
    return [learner.embeddings.vectors[0].detach().clone() for learner in learners]


def test_how_many_vectors_stand_for_a_word_follows_from_the_step_alone():
    counts = [Progressive((0.4, 0.8)).active(3, step, 5000) for step in (0, 1999, 2000, 3999, 4000, 5000)]
    assert counts == [1, 1, 2, 2, 3, 3]
    assert Setup().active(3, 0, 5000) == 3
    assert Progressive((0.1,)).active(3, 0, 100) == 2


def test_a_word_grows_at_its_shares_of_the_training(inversion, concept, trainer):
    learner = inversion(concept(num_vectors=3, setup=Progressive((0.4, 0.8))), steps=5)
    start = learner.initial["S*"]
    rows, places = [], []
    for steps in (2, 4, 5):
        again = inversion(concept(num_vectors=3, setup=Progressive((0.4, 0.8))), steps=5)
        again.on_fit_start()
        places.append(int((again.draw(steps - 1)["ids"][0] >= again.embeddings.tokenizer.vocab_size).sum()))
        (vectors,) = learned(trainer, again, steps=steps)
        rows.append((vectors != start).any(dim=1).tolist())
    assert places == [1, 2, 3]
    assert rows == [[True, False, False], [True, True, False], [True, True, True]]
    assert [len(again.learned(again.concepts[0], step)) for step in (0, 2, 4)] == [1, 2, 3]


def test_a_word_that_grows_must_know_how_long_the_training_is(inversion, concept):
    with pytest.raises(ValueError, match="give `steps`"):
        inversion(concept(num_vectors=2, setup=Progressive((0.5,))))


@pytest.mark.parametrize("grows_at", [(0.8, 0.4), (0.0, 0.5), (2000,)])
def test_shares_that_cannot_be_meant_are_refused(grows_at):
    with pytest.raises(ValueError, match=r"grows_at is .* must be rising shares"):
        Progressive(grows_at)


def test_a_word_cannot_grow_beyond_its_vectors(inversion, concept):
    with pytest.raises(ValueError, match=r"grows_at is .* for 3 vectors: it must be fewer"):
        inversion(concept(num_vectors=3, setup=Progressive((0.2, 0.4, 0.6))), steps=5)


def test_the_regularizer_holds_a_word_near_its_start_and_stays_out_of_the_validation_loss(inversion, concept, trainer):
    free, held = (inversion(concept(setup=Regularized(w)), weight_decay=0.0) for w in (0.0, 1e3))
    free.on_fit_start(), held.on_fit_start()
    batch = free.draw(0)
    assert torch.equal(free.losses(batch), held.losses(batch))
    start = free.initial["S*"]
    away = [float((v - start).norm()) for v in (*learned(trainer, free, steps=30), *learned(trainer, held, steps=30))]
    assert away[1] < 0.5 * away[0]


def test_the_official_penalty_has_cross_terms_and_ours_has_none():
    vectors, start = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 2)
    ours, published = Regularized(0.5), RegularizedPublished(0.5)
    assert ours.penalty(vectors, start) == pytest.approx(0.5 * (1 + 4) / 2)
    assert published.penalty(vectors, start) == pytest.approx(0.5 * (1 + 4) / 4)
    both = torch.ones(2, 2)
    assert ours.penalty(both, start) == pytest.approx(0.5 * 2.0)
    assert published.penalty(both, start) == pytest.approx(0.5 * (2 + 2 + 2 + 2) / 4)
    for setup in (ours, published):
        assert setup.penalty(vectors[1:], start[1:]) == pytest.approx(0.5 * 4.0)


def test_with_a_fixed_norm_only_the_direction_learns(inversion, concept, trainer):
    learner = inversion(concept(num_vectors=2, setup=Direction(), learning_rate=0.1))
    start = learner.initial["S*"]
    (vectors,) = learned(trainer, learner, steps=10)
    torch.testing.assert_close(vectors.norm(dim=1), start.norm(dim=1))
    assert (torch.cosine_similarity(vectors, start) < 0.999).all()
    (free,) = learned(trainer, inversion(concept(num_vectors=2, learning_rate=0.1)), steps=10)
    assert not torch.allclose(free.norm(dim=1), start.norm(dim=1), rtol=1e-3)


def test_each_picture_has_a_word_of_its_own_that_learns_beside_and_is_not_exported(inversion, concept, trainer):
    learner = inversion(concept(setup=DUAL))
    own = learner.embeddings.placeholders[1:]
    assert own == ("S*-0", "S*-1", "S*-2", "S*-3")
    before = [v.detach().clone() for v in learner.embeddings.vectors]
    assert all((v >= 0).all() and (v < 1).all() for v in before[1:])
    learned(trainer, learner, steps=12)
    assert all(not torch.equal(a, b) for a, b in zip(before, learner.embeddings.vectors, strict=True))
    assert len(learner.learned(learner.concepts[0], 12)) == 1


def test_only_so_many_pictures_as_asked_for_are_learned_from(inversion, concept):
    assert len(inversion(concept(first=2)).pictures[0].images) == 2
    with pytest.raises(ValueError, match="holds 4 pictures, 9 are asked for"):
        inversion(concept(first=9))


def test_in_a_pack_every_setup_learns_what_it_learns_alone(inversion, concept, trainer):
    def setups():
        yield inversion(concept(), steps=4)
        yield inversion(concept(setup=DUAL), steps=4)
        yield inversion(concept(num_vectors=2, setup=Progressive((0.5,))), steps=4)
        yield inversion(concept(setup=Regularized(0.1)), steps=4)
        yield inversion(concept(setup=Direction()), steps=4)

    together = learned(trainer, *setups())
    alone = [learned(trainer, learner)[0] for learner in setups()]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


class Halved(Setup):
    """A setup of a test: one class that changes everything a setup can."""

    def extra_words(self, placeholder, pictures, width, seed):
        return {f"{placeholder}-too": torch.ones(1, width)}

    def caption(self, placeholder, templates, picture, rng):
        return f"{super().caption(placeholder, templates, picture, rng)} {placeholder}-too"

    def penalty(self, vectors, start):
        return vectors.sum()

    def before_step(self, vectors, start):
        vectors.grad[:, 0] = 0.0

    @torch.no_grad()
    def after_step(self, vectors, start):
        vectors[:, 1] = 0.5


def test_one_class_is_a_new_setup_alone_and_in_a_pack(inversion, concept, trainer):
    (alone,) = learned(trainer, inversion(concept(setup=Halved())))
    together, plain = learned(trainer, inversion(concept(setup=Halved())), inversion(concept()))
    start = inversion(concept()).initial["S*"]
    for vectors in (alone, together):
        assert torch.equal(vectors[:, 0], start[:, 0]) and (vectors[:, 1] == 0.5).all()
        assert (vectors[:, 2:] != plain[:, 2:]).all()
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_an_extra_word_with_the_name_of_another_is_an_error(inversion, concept):
    with pytest.raises(ValueError, match="has the name of another"):
        inversion(concept(setup=DUAL), concept("S*-1", "owl"))
