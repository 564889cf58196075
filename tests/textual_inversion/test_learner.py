from dataclasses import replace

import pytest
import torch

from ldm.images import to_tensor
from ldm.weights.fingerprint import weights_hash

# Lightning warns about modules in eval mode, but the frozen model must be in it.
pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")


def vectors_of(module):
    return [vectors.detach().clone() for vectors in module.embeddings.vectors]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows(batch, start, stop):
    return {name: value[start:stop] for name, value in batch.items()}


@torch.no_grad()
def validation_losses(module):
    module.on_fit_start()
    return torch.stack([module.losses(batch) for batch in module.val_dataloader()])


def test_every_row_learns_and_everything_else_stays_as_it_was(inversion, concept, trainer):
    module = inversion(concept("S*", num_vectors=3), concept("T*", "owl"))
    model, start = weights_hash(module.ldm), vectors_of(module)
    trainer(2).fit(module)
    assert weights_hash(module.ldm) == model
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in module.ldm.parameters())
    for before, after in zip(start, vectors_of(module), strict=True):
        assert ((after - before).abs().amax(dim=1) > 0).all()


def test_the_optimiser_and_the_checkpoint_hold_the_vectors_alone(inversion, concept):
    module = inversion(concept("S*", num_vectors=2, learning_rate=0.1), concept("T*", learning_rate=0.2))
    groups = module.configure_optimizers().param_groups
    assert [(group["lr"], *map(id, group["params"])) for group in groups] == [
        (lr, id(vectors)) for lr, vectors in zip((0.1, 0.2), module.embeddings.vectors, strict=True)
    ]
    assert {name: list(value.shape) for name, value in module.state_dict().items()} == {
        "embeddings.vectors.0": [2, 16], "embeddings.vectors.1": [1, 16],
    }  # fmt: skip


@pytest.mark.parametrize(("weight_decay", "moves"), [(0.0, False), (0.01, True)])
def test_only_weight_decay_moves_a_row_without_gradient(inversion, concept, weight_decay, moves):
    module = inversion(concept(), weight_decay=weight_decay)
    (vectors,) = module.embeddings.vectors
    before = vectors.detach().clone()
    vectors.grad = torch.zeros_like(vectors)
    module.configure_optimizers().step()
    assert torch.equal(vectors, before) != moves


def test_a_concept_learns_in_a_pack_what_it_learns_alone(inversion, concept, trainer):
    pack = [concept("S*", num_vectors=2), concept("T*", "owl", learning_rate=0.003, seed=5), concept("<u>", "mug")]
    together = inversion(*pack)
    trainer(4).fit(together)
    for one, learned in zip(pack, together.embeddings.vectors, strict=True):
        alone = inversion(one)
        trainer(4).fit(alone)
        torch.testing.assert_close(learned, alone.embeddings.vectors[0], rtol=1e-5, atol=1e-6)


def test_a_draw_depends_on_seed_step_and_index_alone(inversion, concept):
    cat, owl = concept("S*", seed=1), concept("T*", "owl", seed=2)
    module, wide, pack = inversion(cat), inversion(cat, batch_size=5), inversion(owl, cat)
    other = inversion(replace(cat, seed=3))
    for learner in (module, wide, pack, other):
        learner.on_fit_start()
    third = module.draw(3)
    assert same(third, module.draw(3))
    assert same(third, rows(wide.draw(3), 0, 2))
    in_pack = rows(pack.draw(3), 2, 4)
    in_pack["ids"] = in_pack["ids"].where(in_pack["ids"] != module.embeddings.tokenizer.vocab_size + 1, third["ids"])
    assert same(third, in_pack)
    for batch in (module.draw(4), other.draw(3)):
        assert not torch.equal(batch["eps"], third["eps"]) and not torch.equal(batch["z_0"], third["z_0"])
    assert not torch.equal(third["eps"][0], third["eps"][1])


def test_the_draws_cover_pictures_flips_captions_and_steps_of_the_diffusion(inversion, concept):
    module = inversion(concept(), batch_size=60)
    module.on_fit_start()
    (moments,) = module.moments
    moments[:, :, 0] = torch.arange(8.0).view(4, 2, 1, 1, 1)  # the mean of each view identifies it
    moments[:, :, 1] = 0.0
    batch = module.draw(0)
    assert batch["z_0"][:, 0, 0, 0].unique().tolist() == list(range(8))
    assert len(batch["ids"].unique(dim=0)) == 3
    assert batch["t"].min() < 100 and batch["t"].max() > 900
    assert abs(batch["eps"].mean()) < 0.05 and abs(batch["eps"].std() - 1) < 0.05


def test_without_flip_no_picture_is_mirrored(inversion, concept):
    module = inversion(concept(flip=False), batch_size=50)
    module.on_fit_start()
    (moments,) = module.moments
    moments[:, 0], moments[:, 1] = 0.0, 1.0
    assert not module.draw(0)["z_0"].any()


def test_the_autoencoder_sees_every_picture_and_its_mirror_image_once(inversion, concept, trainer, monkeypatch):
    module = inversion(concept())
    seen = []
    encode = module.ldm.first_stage_model.encode
    monkeypatch.setattr(module.ldm.first_stage_model, "encode", lambda x: (seen.extend(x), encode(x))[1])
    trainer(3, limit_val_batches=None, val_check_interval=1).fit(module)
    x = to_tensor(module.pictures[0].images)
    assert torch.equal(torch.stack(seen), torch.stack([x, x.flip(-1)], dim=1).flatten(0, 1))


def test_learning_stops_at_the_first_step_if_the_text_is_not_heard(inversion, concept, trainer):
    module = inversion(concept(num_vectors=2))
    for name, parameter in module.ldm.named_parameters():
        if "attn2.to_out" in name:
            parameter.data.zero_()
    start = vectors_of(module)
    with pytest.raises(RuntimeError, match=r"'S\*' cannot learn: the gradients of its vectors have norms \[0.0, 0.0\]"):
        trainer(1).fit(module)
    assert torch.equal(start[0], module.embeddings.vectors[0])


def test_learning_stops_if_the_loss_is_not_finite(inversion, concept, trainer):
    module = inversion(concept())
    module.embeddings.vectors[0].data[0, 0] = float("inf")
    with pytest.raises(RuntimeError, match=r"the loss is \[nan\] at step 0: lower optim.lr"):
        trainer(2).fit(module)


def test_equal_vectors_have_equal_validation_losses(inversion, concept, trainer):
    pack = [concept("S*"), concept("T*", "owl")]
    module, again = inversion(*pack), inversion(*pack)
    first = validation_losses(module)
    assert torch.equal(first, validation_losses(again))
    trainer(2).fit(module)
    learned = validation_losses(module)
    assert not torch.isclose(learned, first, rtol=0, atol=1e-7).all(dim=0).any()
    again.embeddings.load_state_dict(module.embeddings.state_dict())
    assert torch.equal(learned, validation_losses(again))


@pytest.mark.parametrize(("draws", "batch_size"), [(4, 2), (4, 3), (1, 16)])
def test_validation_sees_at_least_as_many_draws_as_asked_for(inversion, concept, draws, batch_size):
    module = inversion(concept(), validation_draws=draws, batch_size=batch_size)
    module.on_fit_start()
    seen = sum(len(batch["t"]) for batch in module.val_dataloader())
    assert draws <= seen < draws + batch_size


def test_the_loss_of_a_fixed_batch_falls(inversion, concept):
    module = inversion(concept(learning_rate=0.02), batch_size=8)
    module.on_fit_start()
    batch, optimizer = module.draw(0), module.configure_optimizers()
    history = []
    for _ in range(25):
        loss = module.losses(batch).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert min(history) == min(history[-3:]) < 0.999 * history[0]


def test_the_word_is_nearest_to_what_it_starts_from(inversion, concept):
    nearest = inversion(concept("S*", "owl")).nearest_words("S*", count=3)
    assert nearest[0] == "owl" and len(set(nearest)) == 3


def test_two_concepts_of_one_placeholder_are_an_error(inversion, concept):
    with pytest.raises(ValueError, match=r"two concepts share a placeholder: \['S\*', 'S\*'\]"):
        inversion(concept("S*"), concept("S*", "owl"))


def test_a_word_too_long_for_its_sentences_is_an_error_before_learning(inversion, concept):
    with pytest.raises(ValueError, match="the placeholder is cut off"):
        inversion(concept(num_vectors=12))


@pytest.mark.parametrize("other", [{"num_vectors": 2}, {"placeholder": "T*"}])
def test_a_checkpoint_of_another_word_is_refused(inversion, concept, other):
    """Other settings that differ are refused by name, in launch, where they can be accepted."""
    checkpoint = {}
    inversion(concept()).on_save_checkpoint(checkpoint)
    inversion(concept(learning_rate=0.5)).on_load_checkpoint(checkpoint)
    with pytest.raises(ValueError, match="start anew"):
        inversion(replace(concept(), **other)).on_load_checkpoint(checkpoint)
