"""Optimisations do not change the result: v* after 50 steps with each of them, compared with the plain path, which
encodes the images in every step, in float32, and computes the gradients of all weights."""

from functools import partial

import pytest
import torch

from ldm.images import to_tensor
from textual_inversion.objective import sample_losses
from textual_inversion.pack import Pack

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")

STEPS = 50


def moved(module):
    """Return the differences of the vectors from their initial values, flattened."""
    start = torch.cat(list(module.initial.values()))
    return (torch.cat(list(module.embeddings.vectors)).detach() - start).flatten()


@pytest.fixture(scope="module")
def found():
    return {}


@pytest.fixture
def plain(found, inversion, concept):
    """Return v* - v_0 of the plain path, which is computed once for all tests."""
    if "plain" not in found:
        found["plain"] = train_plainly(inversion(concept()))
    return found["plain"]


def train_plainly(module):
    module.ldm.requires_grad_(True)
    module.ldm.first_stage_model.requires_grad_(False)
    module.on_fit_start()
    x = to_tensor(module.pictures[0].images)
    optimizer = module.configure_optimizers()
    for step in range(STEPS):
        posteriors = [module.ldm.encode_first_stage(view) for view in (x, x.flip(-1))]
        module.moments = [torch.stack([torch.stack([p.mean, p.std], dim=1) for p in posteriors], dim=1)]
        batch = module.draw(step)
        c = module.ldm.cond_stage_model.encode(module.embed(batch))
        module.ldm.losses(batch["z_0"], c, batch["t"], batch["eps"]).mean().backward()
        assert all(p.grad is not None for p in module.ldm.unet.parameters())
        optimizer.step()
        optimizer.zero_grad()
    return moved(module)


def off(module, plain):
    """Return the distance between both results relative to the distance that v* has moved."""
    return float((moved(module) - plain).norm() / plain.norm())


def test_cached_moments_and_a_backward_pass_that_stops_at_the_text(plain, inversion, concept, trainer):
    module = inversion(concept())
    trainer(STEPS).fit(module)
    assert off(module, plain) < 1e-4


def test_a_pack(plain, inversion, concept, trainer):
    pack = Pack([inversion(concept()), inversion(concept("T*", "owl", seed=3)), inversion(concept(num_vectors=2))])
    trainer(STEPS).fit(pack)
    assert off(pack.runs[0], plain) < 1e-4


def test_several_words_in_one_run(plain, inversion, concept, trainer):
    module = inversion(concept(), concept("T*", "owl", seed=3), concept("<u>", num_vectors=2))
    trainer(STEPS).fit(module)
    first = moved(module)[: plain.numel()]
    assert float((first - plain).norm() / plain.norm()) < 1e-4


def test_frozen_weights_in_half_precision(plain, inversion, concept, trainer):
    module = inversion(concept(), frozen_dtype=torch.bfloat16)
    trainer(STEPS).fit(module)
    assert module.ldm.unet.dtype == module.ldm.cond_stage_model.dtype == torch.bfloat16
    assert module.ldm.first_stage_model.dtype == module.embeddings.vectors[0].dtype == torch.float32
    assert 1e-6 < off(module, plain) < 0.03


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler warns about its own code
def test_a_compiled_objective(plain, inversion, concept, trainer):
    module = inversion(concept(), compiled=True)
    trainer(STEPS).fit(module)
    assert off(module, plain) < 1e-3 and module.objective.checked


def bent(ldm, rows, *sample):
    return sample_losses(ldm, rows.detach() + 0.9 * (rows - rows.detach()), *sample)


@pytest.mark.parametrize(("compiler", "trusted"), [(lambda f: partial(f), True), (lambda f: bent, False)])
def test_a_compiler_is_trusted_only_with_the_same_gradient(
    plain, inversion, concept, trainer, monkeypatch, caplog, compiler, trusted
):
    monkeypatch.setattr(torch, "compile", compiler)
    module = inversion(concept(), compiled=True)
    trainer(STEPS).fit(module)
    assert off(module, plain) < 1e-4
    assert (module.objective.losses is not sample_losses) == trusted
    assert ("torch.compile changes the gradient here by 0.1" in caplog.text) != trusted
