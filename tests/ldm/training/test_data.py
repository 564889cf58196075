"""Batches as pure functions of (seed, k)."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ldm.images import to_tensor
from ldm.training import data
from ldm.training.data import (
    BatchStream,
    ContrastiveData,
    LabelledData,
    PictureData,
    epoch_indices,
    val_batches,
)


def batches(source, seed: int = 0, crop: int | None = None) -> PictureData:
    return PictureData(source, source, batch_size=4, val_size=5, crop=crop, seed=seed)


@pytest.mark.parametrize(("n", "batch_size"), [(12, 4), (10, 4), (7, 3), (3, 8), (1, 2)])
def test_every_index_comes_once_an_epoch_whatever_the_batch_size(n, batch_size):
    steps = -(-4 * n // batch_size)
    stream = np.concatenate([epoch_indices(n, batch_size, 0, step) for step in range(steps)])
    epochs = stream[: 4 * n].reshape(4, n)
    assert (np.sort(epochs, axis=1) == np.arange(n)).all()


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [epoch_indices(50, 50, seed, step).tolist() for seed in range(2) for step in range(2)]
    assert len({tuple(order) for order in orders}) == 4


def test_the_order_does_not_depend_on_how_it_is_cut_into_batches():
    by_two = np.concatenate([epoch_indices(10, 2, 3, step) for step in range(12)])
    by_eight = np.concatenate([epoch_indices(10, 8, 3, step) for step in range(3)])
    assert (by_two == by_eight).all()


def test_batch_k_is_a_pure_function_of_seed_and_k(pictures):
    one, other = batches(pictures(), crop=8), batches(pictures(), crop=8)
    later = [one.train_batch(k) for k in (5, 0, 3)]
    for k, batch in zip((5, 0, 3), later, strict=True):
        again = other.train_batch(k)
        assert torch.equal(batch["image"], again["image"]) and batch["caption"] == again["caption"]
    assert not torch.equal(later[0]["image"], batches(pictures(), seed=1, crop=8).train_batch(5)["image"])


def test_pictures_come_with_their_captions_and_some_are_mirrored(pictures):
    source, mirrored = pictures(), set()
    originals = to_tensor(source.images)
    for k in range(6):
        batch = batches(source).train_batch(k)
        indices = epoch_indices(6, 4, 0, k)
        assert batch["caption"] == [source.caption(i, k) for i in indices]
        for x, i in zip(batch["image"], indices, strict=True):
            flipped = torch.equal(x, originals[i].flip(-1))
            assert flipped or torch.equal(x, originals[i])
            mirrored.add(flipped)
    assert mirrored == {True, False}


def test_crops_are_parts_of_the_picture_and_reach_its_borders(pictures):
    source = pictures(count=1, side=16)
    y, x = np.mgrid[:16, :16].astype(np.uint8)
    source.images = np.stack([y, x, x * 0], axis=-1)[None]
    corners = set()
    for k in range(200):
        for crop in ((batches(source, crop=14).train_batch(k)["image"] + 1) * 127.5).round().int():
            rows, columns = crop[0, :, 0].tolist(), sorted(crop[1, 0, :].tolist())
            assert rows == list(range(rows[0], rows[0] + 14)) and columns == list(range(columns[0], columns[0] + 14))
            corners.add((rows[0], columns[0]))
    assert corners == set(itertools.product(range(3), range(3)))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_together_give_the_same_batches_in_order(monkeypatch, workers, stride):
    """A DataLoader takes one batch from each worker in turn."""
    streams = []
    for i in range(workers):
        monkeypatch.setattr(data, "get_worker_info", lambda i=i: SimpleNamespace(id=i, num_workers=workers))
        streams.append(iter(BatchStream(lambda step: {"step": step}, 7, stride)))
    in_turn = (next(streams[k % workers])["step"] for k in itertools.count())
    assert list(itertools.islice(in_turn, 10)) == list(range(7, 7 + 10 * stride, stride))


def test_the_loader_begins_at_the_trainer_s_step(pictures):
    fresh, resumed = batches(pictures()), batches(pictures())
    resumed.trainer = SimpleNamespace(global_step=3, world_size=1, global_rank=0)
    expected = fresh.train_batch(3)["image"]
    assert torch.equal(next(iter(resumed.train_dataloader()))["image"], expected)
    third = next(itertools.islice(fresh.train_dataloader(), 3, None))
    assert torch.equal(third["image"], expected)


def test_processes_take_turns(pictures):
    """Two processes at step 3 together continue with batches 6, 7, 8 and 9 of one process."""
    alone, taken = batches(pictures()), {}
    for rank in range(2):
        ours = batches(pictures())
        ours.trainer = SimpleNamespace(global_step=3, world_size=2, global_rank=rank)
        for step, batch in enumerate(itertools.islice(ours.train_dataloader(), 2)):
            taken[2 * (3 + step) + rank] = batch["image"]
    assert sorted(taken) == [6, 7, 8, 9]
    assert all(torch.equal(x, alone.train_batch(number)["image"]) for number, x in taken.items())


def test_both_sources_are_prepared(pictures):
    train, val = pictures(), pictures()
    PictureData(train, val, batch_size=2).prepare_data()
    assert train.prepared == val.prepared == 1


def test_validation_sees_the_first_pictures_once_unchanged(pictures):
    source = pictures()
    seen = list(batches(source).val_dataloader())
    assert torch.equal(torch.cat([batch["image"] for batch in seen]), to_tensor(source.images[:5]))
    assert [text for batch in seen for text in batch["caption"]] == [source.caption(i, 0) for i in range(5)]
    sizes = [len(batch["image"]) for batch in val_batches(source, 5, batch_size=2)]
    assert sizes == [2, 2, 1] and "label_kind" not in seen[0]


def test_known_labels_come_along(pictures):
    source = pictures()
    source.labels = lambda index: {"kind": f"kind {index}", "style": "photo"}
    last = val_batches(source, 5, batch_size=2)[-1]
    assert last["label_kind"] == ["kind 4"] and last["label_style"] == ["photo"]


def test_more_validation_pictures_than_there_are_is_an_error_before_the_first_step(pictures):
    with pytest.raises(ValueError, match="val_size is 7, but there are 6"):
        PictureData(pictures(), pictures(), batch_size=4, val_size=7).setup("fit")


def test_labelled_batches_hold_pictures_with_what_is_known_of_them(pictures):
    source = pictures(6)
    source.labels = lambda index: {"kind": f"kind {index}"}
    data = LabelledData(source, source, batch_size=4, val_size=3, seed=0, num_workers=0)
    batch = data.train_batch(1)
    indices = epoch_indices(6, 4, 0, 1)
    assert batch["label_kind"] == [f"kind {i}" for i in indices]
    for x, i in zip(batch["image"], indices, strict=True):
        (original,) = to_tensor(source.images[i : i + 1])
        assert torch.equal(x, original) or torch.equal(x, original.flip(-1))
    assert [label for val in data.val_dataloader() for label in val["label_kind"]] == ["kind 0", "kind 1", "kind 2"]


def test_every_second_contrastive_batch_is_of_pictures_that_are_alike(pictures):
    source = pictures(30)
    source.labels = lambda index: {"kind": f"kind {index % 3}", "place": f"place {index % 2}", "index": f"{index}"}
    data = ContrastiveData(source, source, batch_size=4, val_size=3, alike=["kind", "place"])
    seen = [data._indices(step) for step in range(20)]
    for step, indices in enumerate(seen):
        assert len(set(indices)) == 4
        assert (len({index % 6 for index in indices}) == 1) == (step % 2 == 1)
    assert len({index for indices in seen[1::2] for index in indices}) > 15
    np.testing.assert_array_equal(data._indices(7), seen[7])


def test_fewer_alike_than_a_batch_are_all_of_them(pictures):
    source = pictures(6)
    source.labels = lambda index: {"kind": f"kind {index % 3}"}
    data = ContrastiveData(source, source, batch_size=4, val_size=3, alike=["kind"])
    batch = data.train_batch(1)
    assert len(batch["image"]) == len(batch["caption"]) == 2 and len(set(batch["caption"])) == 2


def test_pictures_of_which_nothing_is_known_are_refused(pictures):
    data = LabelledData(pictures(6), pictures(6), batch_size=4, val_size=3, seed=0, num_workers=0)
    with pytest.raises(ValueError, match="have no labels"):
        data.train_batch(0)
