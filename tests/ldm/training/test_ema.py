"""The average of the weights: its formula, and that looking at it leaves training alone."""

from types import SimpleNamespace

import pytest
import pytorch_lightning as L
import torch
from torch import nn

from ldm.training.ema import EMA


class Model(L.LightningModule):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.learns = nn.Linear(3, 2)
        self.frozen = nn.Linear(3, 2).requires_grad_(False)


def step(ema: EMA, model: Model, n: int) -> None:
    """What an optimiser step number n does to the weights, and what Lightning tells the callback after it."""
    with torch.no_grad():
        for i, parameter in enumerate(model.learns.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(10 * n + i)))
    ema.on_train_batch_end(SimpleNamespace(global_step=n), model, None, None, n - 1)


def copies(tensors: dict) -> dict:
    return {name: value.detach().clone() for name, value in tensors.items()}


@pytest.fixture
def started() -> tuple[EMA, Model]:
    ema, model = EMA(decay=0.5), Model()
    ema.on_train_start(SimpleNamespace(global_step=0), model)
    return ema, model


def test_it_starts_at_the_trainable_weights_and_owns_them(started):
    ema, model = started
    assert ema.average.keys() == {"learns.weight", "learns.bias"}
    before = copies(ema.average)
    with torch.no_grad():
        model.learns.weight.add_(1.0)
    assert all(torch.equal(ema.average[name], value) for name, value in before.items())


def test_the_average_follows_its_formula(started):
    ema, model = started
    expected = {name: value.double() for name, value in copies(ema.average).items()}
    for n in range(1, 20):
        step(ema, model, n)
        decay = min(0.5, (1 + n) / (10 + n))
        for name, value in expected.items():
            weight = dict(model.named_parameters())[name].detach().double()
            expected[name] = decay * value + (1 - decay) * weight
    for name, value in expected.items():
        torch.testing.assert_close(ema.average[name].double(), value, rtol=0, atol=1e-5)


def test_validation_sees_the_average_and_training_gets_its_own_weights_back(started):
    ema, model = started
    step(ema, model, 1)
    weights, average = copies(dict(model.named_parameters())), copies(ema.average)
    ema.on_validation_start(None, model)
    seen = dict(model.named_parameters())
    assert all(torch.equal(seen[name], value) for name, value in average.items())
    assert torch.equal(seen["frozen.weight"], weights["frozen.weight"])
    ema.on_validation_end(None, model)
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())
    assert all(torch.equal(ema.average[name], value) for name, value in average.items())


def test_its_state_continues_the_same_average(started, tmp_path):
    ema, model = started
    for n in range(1, 4):
        step(ema, model, n)
    torch.save({"ema": ema.state_dict(), "model": model.state_dict()}, tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)

    resumed, again = EMA(decay=0.5), Model(seed=1)
    again.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["ema"])
    resumed.on_train_start(SimpleNamespace(global_step=3), again)
    for n in range(4, 7):
        step(ema, model, n)
        step(resumed, again, n)
    assert all(torch.equal(resumed.average[name], value) for name, value in ema.average.items())
