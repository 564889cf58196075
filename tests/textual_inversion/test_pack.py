"""A run in a pack learns, writes and resumes as it would alone."""

import pandas as pd
import pytest
import pytorch_lightning as L
import torch
from pytorch_lightning.callbacks import EarlyStopping

from ldm.training.callbacks import MetricsTable
from ldm.weights.fingerprint import weights_hash
from textual_inversion.callbacks import SaveWords
from textual_inversion.pack import OfRun, Pack
from textual_inversion.pack_files import join_checkpoints, split_checkpoint
from textual_inversion.words.file import load_words

pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")


@pytest.fixture
def runs(inversion, concept):
    """Return a builder of the runs of a sweep, all with the same placeholder."""

    def build():
        first = inversion(concept("S*", seed=1, learning_rate=0.02))
        second = inversion(concept("S*", "owl", num_vectors=2, seed=2))
        both = inversion(concept("S*", seed=3), concept("T*", "mug", seed=4), batch_size=3, validation_draws=6)
        return [first, second, both]

    return build


def vectors_of(module):
    return [vectors.detach().clone() for vectors in module.embeddings.vectors]


def assert_close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_each_run_learns_what_it_learns_alone_and_the_model_stays(runs, trainer):
    pack = Pack(runs())
    before = weights_hash(pack.ldm)
    trainer(4).fit(pack)
    assert weights_hash(pack.ldm) == before
    for run, alone in zip(pack.runs, runs(), strict=True):
        start = vectors_of(alone)
        trainer(4).fit(alone)
        assert_close(vectors_of(run), vectors_of(alone))
        assert not torch.equal(vectors_of(run)[0], start[0])


def test_each_run_writes_what_it_writes_alone(runs, trainer, tmp_path):
    def callbacks(folder):
        return [MetricsTable(str(folder / "metrics.csv"), every=2), SaveWords(str(folder), "tiny")]

    settings = {"limit_val_batches": None, "val_check_interval": 2}
    pack = Pack(runs())
    packed = [OfRun(c, i) for i in range(3) for c in callbacks(tmp_path / f"packed-{i}")]
    trainer(4, callbacks=packed, **settings).fit(pack)
    for i, alone in enumerate(runs()):
        trainer(4, callbacks=callbacks(tmp_path / f"alone-{i}"), **settings).fit(alone)
        ours, theirs = (pd.read_csv(tmp_path / f"{how}-{i}" / "metrics.csv") for how in ("packed", "alone"))
        assert [*ours["step"]] == [2, 4] and ours[["train/loss", "val/loss"]].notna().all(axis=None)
        pd.testing.assert_frame_equal(ours, theirs, rtol=1e-4)
        words = [load_words(tmp_path / f"{how}-{i}") for how in ("packed", "alone")]
        assert [w.placeholder for w in words[0]] == [w.placeholder for w in words[1]]
        assert_close([w.vectors for w in words[0]], [w.vectors for w in words[1]])


def test_a_run_goes_on_alone_and_in_a_pack_as_if_it_had_never_stopped(runs, trainer, tmp_path):
    straight, pack = Pack(runs()), Pack(runs())
    trainer(6).fit(straight)
    first = trainer(3)
    first.fit(pack)
    first.save_checkpoint(tmp_path / "pack.ckpt")
    parts = split_checkpoint(pack, torch.load(tmp_path / "pack.ckpt", weights_only=False))

    for run, part, alone in zip(straight.runs, parts, runs(), strict=True):
        torch.save(part, tmp_path / "alone.ckpt")
        trainer(6).fit(alone, ckpt_path=tmp_path / "alone.ckpt")
        assert_close(vectors_of(alone), vectors_of(run))

    again = Pack(runs())
    torch.save(join_checkpoints(again, parts), tmp_path / "joined.ckpt")
    trainer(6).fit(again, ckpt_path=tmp_path / "joined.ckpt")
    for run, expected in zip(again.runs, straight.runs, strict=True):
        assert_close(vectors_of(run), vectors_of(expected))


class StopAt(L.Callback):
    """Stops at a validation, as EarlyStopping does, and records the steps that it sees."""

    def __init__(self, step):
        self.step, self.seen, self.ended = step, [], None

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.seen.append(trainer.global_step)

    def on_validation_end(self, trainer, pl_module):
        if trainer.global_step >= self.step:
            trainer.should_stop = True

    def on_train_end(self, trainer, pl_module):
        self.ended = trainer.global_step


def test_a_run_may_end_before_the_others(runs, trainer):
    stops = [StopAt(2), StopAt(4), StopAt(99)]
    settings = {"limit_val_batches": None, "val_check_interval": 2}
    pack = Pack(runs())
    trainer(6, callbacks=[OfRun(stop, i) for i, stop in enumerate(stops)], **settings).fit(pack)
    assert [stop.ended for stop in stops] == [2, 4, 6]
    assert [stop.seen[-1] for stop in stops] == [2, 4, 6]
    for run, alone, steps in zip(pack.runs, runs(), (2, 4, 6), strict=True):
        trainer(steps).fit(alone)
        assert_close(vectors_of(run), vectors_of(alone))


def test_a_pack_ends_when_all_its_runs_have(runs, trainer):
    settings = {"limit_val_batches": None, "val_check_interval": 1}
    shortened = trainer(9, callbacks=[OfRun(StopAt(2 + i), i) for i in range(3)], **settings)
    shortened.fit(Pack(runs()))
    assert shortened.global_step == 4


def test_lightnings_own_early_stopping_works_for_a_run(runs, trainer):
    settings = {"limit_val_batches": None, "val_check_interval": 1, "check_val_every_n_epoch": None}
    impatient = EarlyStopping("val/loss", patience=1, min_delta=10.0)  # no improvement is that large
    patient = EarlyStopping("val/loss", patience=3, min_delta=10.0)
    pack = Pack(runs())
    trainer(8, callbacks=[OfRun(impatient, 0), OfRun(patient, 1)], **settings).fit(pack)
    assert pack.stopped == {0: 2, 1: 4}


def test_callbacks_go_on_with_their_own_state(runs, trainer, tmp_path):
    settings = {"limit_val_batches": None, "val_check_interval": 1, "check_val_every_n_epoch": None}

    def stops():
        return [OfRun(EarlyStopping("val/loss", patience=4 + i, min_delta=10.0), i) for i in range(3)]

    pack, first = Pack(runs()), trainer(3, callbacks=stops(), **settings)
    first.fit(pack)
    first.save_checkpoint(tmp_path / "pack.ckpt")
    parts = split_checkpoint(pack, torch.load(tmp_path / "pack.ckpt", weights_only=False))
    again = Pack(runs())
    torch.save(join_checkpoints(again, parts), tmp_path / "joined.ckpt")
    trainer(9, callbacks=stops(), **settings).fit(again, ckpt_path=tmp_path / "joined.ckpt")
    assert again.stopped == {0: 5, 1: 6, 2: 7}


def test_the_checkpoint_of_another_concept_does_not_join(runs, trainer, tmp_path):
    pack = Pack(runs())
    first = trainer(1)
    first.fit(pack)
    first.save_checkpoint(tmp_path / "pack.ckpt")
    one, two, three = split_checkpoint(pack, torch.load(tmp_path / "pack.ckpt", weights_only=False))
    with pytest.raises(ValueError, match="use resume=null to start anew"):
        join_checkpoints(Pack(runs()), [two, one, three])


def test_a_pack_has_one_model(inversion, concept, tiny_ldm):
    from copy import deepcopy

    with pytest.raises(ValueError, match="must share one frozen model"):
        Pack([inversion(concept()), inversion(concept(), ldm=deepcopy(tiny_ldm))])
