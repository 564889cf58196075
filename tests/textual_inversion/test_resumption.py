"""Training that is stopped at any step resumes as if it had not been interrupted."""

import signal

import pytest
import pytorch_lightning as L
import torch

from ldm.training.callbacks import MetricsTable
from ldm.training.products import always_end
from ldm.training.resumption import Checkpoint, Preempted, stopping_at_once

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")

STEPS = 8


class RaiseSignal(L.Callback):
    def __init__(self, step, number):
        self.step, self.number = step, number

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            signal.raise_signal(self.number)


@pytest.fixture
def fit(inversion, concept, trainer):
    """Train in a folder, with a signal after step `stop`; return the vectors and the table of metrics."""

    def run(folder, stop=None, every_steps=100, every_minutes=1e9, signal_name="SIGTERM"):
        save = Checkpoint(str(folder), every_steps, every_minutes)
        callbacks = [MetricsTable(str(folder / "metrics.csv"), every=1), save]
        if stop is not None:
            callbacks.insert(0, RaiseSignal(stop, getattr(signal, signal_name)))
        module = inversion(concept())
        settings = {"limit_val_batches": None, "val_check_interval": 4, "check_val_every_n_epoch": None}
        checkpoint = folder / "last.ckpt"
        trainer(STEPS, callbacks=callbacks, **settings).fit(
            module, ckpt_path=checkpoint if checkpoint.exists() else None
        )
        return module.embeddings.vectors[0].detach().clone(), (folder / "metrics.csv").read_text()

    return run


SIGNALS = {"SIGTERM": "SIGTERM", "SIGINT": "Ctrl-C", "SIGUSR1": "SIGUSR1"}  # each with what is said of it
UNDISTURBED = []


@pytest.fixture
def undisturbed(fit, tmp_path):
    """The result without a signal, which is computed once for all tests."""
    if not UNDISTURBED:
        (tmp_path / "undisturbed").mkdir()
        before = [signal.getsignal(getattr(signal, name)) for name in SIGNALS]
        UNDISTURBED.append(fit(tmp_path / "undisturbed"))
        assert [signal.getsignal(getattr(signal, name)) for name in SIGNALS] == before
    return UNDISTURBED[0]


@pytest.mark.parametrize(
    ("stop", "name"), [(1, "SIGTERM"), (3, "SIGTERM"), (4, "SIGTERM"), (5, "SIGTERM"), (3, "SIGINT"), (4, "SIGUSR1")]
)
def test_the_step_ends_the_state_is_saved_and_the_rest_is_the_same(fit, undisturbed, tmp_path, stop, name):
    folder, before = tmp_path / "run", signal.getsignal(getattr(signal, name))
    folder.mkdir()
    with pytest.raises(Preempted, match=f"stopped at step {stop}, by {SIGNALS[name]}"):
        fit(folder, stop, signal_name=name)
    assert signal.getsignal(getattr(signal, name)) == before
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == stop
    vectors, metrics = fit(folder)
    assert torch.equal(vectors, undisturbed[0]) and metrics == undisturbed[1]


def saved_steps(fit, folder, monkeypatch, **settings):
    steps = []
    write = Checkpoint.write
    monkeypatch.setattr(Checkpoint, "write", lambda s, t, m: (steps.append(t.global_step), write(s, t, m))[1])
    fit(folder, **settings)
    return steps


def test_the_state_is_saved_every_so_many_steps_and_at_the_end(fit, tmp_path, monkeypatch):
    assert saved_steps(fit, tmp_path, monkeypatch, every_steps=3) == [3, 6, 8]


def test_the_state_is_saved_every_so_many_minutes(fit, tmp_path, monkeypatch):
    assert saved_steps(fit, tmp_path, monkeypatch, every_minutes=0.0) == list(range(1, STEPS + 1))


def test_after_the_last_step_a_signal_stops_at_once(inversion, concept, trainer, tmp_path):
    """What is made there can be made later, and a cluster does not wait."""

    class Draw(L.Callback):
        def on_train_end(self, *_):
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("it should have ended")

    with pytest.raises(Preempted, match="stopped after the last step, by SIGTERM; the state is saved"):
        trainer(2, callbacks=[Checkpoint(str(tmp_path), 100), Draw()]).fit(inversion(concept()))
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2


def test_before_the_first_step_a_signal_stops_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted, match=r"^stopped by SIGTERM$") as stopped, stopping_at_once():
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.exit_code == 143 and signal.getsignal(signal.SIGTERM) == before


def test_a_run_that_was_stopped_early_does_not_train_on(inversion, concept, trainer, tmp_path):
    settings = {"limit_val_batches": None, "val_check_interval": 2, "check_val_every_n_epoch": None}

    def run(steps, patience=1):
        impatient = L.callbacks.EarlyStopping("val/loss", patience=patience, min_delta=10.0)
        whole = trainer(steps, callbacks=[impatient, Checkpoint(str(tmp_path), 100)], **settings)
        always_end(whole)
        path = tmp_path / "last.ckpt"
        whole.fit(inversion(concept()), ckpt_path=path if path.exists() else None)
        return whole.global_step

    assert [run(STEPS), run(STEPS), run(2 * STEPS)] == [4, 4, 4]
    assert run(2 * STEPS, patience=3) == 8  # two more validations than before
    assert run(2 * STEPS, patience=2) == 8
