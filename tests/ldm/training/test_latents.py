"""Latents are computed once per first stage and set of images."""

import io

import numpy as np
import pytest
import torch

from ldm.errors import UserError
from ldm.images import to_tensor
from ldm.training import latents
from ldm.training.data import epoch_indices
from ldm.training.latents import LatentData, unit_scale


@pytest.fixture
def encoded(monkeypatch) -> list[int]:
    """Count the encoded images of each call."""
    calls, original = [], latents.moments

    def counting(first_stage, images):
        calls.append(len(images))
        return original(first_stage, images)

    monkeypatch.setattr(latents, "moments", counting)
    return calls


@pytest.fixture
def make(tmp_path, build_autoencoder, pictures):
    def ready(init: int = 0, world: int = 0, seed: int = 0) -> LatentData:
        train, val = pictures(count=6, seed=world), pictures(count=4, seed=world + 100)
        data = LatentData(train, val, build_autoencoder(init), tmp_path / "latents", 4, val_size=3, seed=seed)
        data.prepare_data()
        data.setup("fit")
        return data

    return ready


def test_moments_are_those_of_the_first_stage(make):
    data = make()
    with torch.no_grad():
        posterior = data.first_stage.encode(to_tensor(data.train.images))
    assert data.train_moments.shape == (6, 2, 4, 8, 8) and data.train_moments.dtype == np.float16
    mean, std = torch.from_numpy(np.array(data.train_moments)).float().unbind(1)
    torch.testing.assert_close(mean, posterior.mean, rtol=0, atol=0.02)  # bfloat16 inside
    torch.testing.assert_close(std, posterior.std, rtol=0.02, atol=0.02)
    assert len(data.val_moments) == 3


def test_a_second_run_encodes_nothing(make, encoded):
    first = np.array(make().train_moments)
    assert sum(encoded) >= 9
    encoded.clear()
    assert (make().train_moments == first).all()
    assert encoded == []


def test_only_the_process_that_prepares_encodes(tmp_path, build_autoencoder, pictures, encoded):
    data = LatentData(pictures(count=6), pictures(count=4), build_autoencoder(0), tmp_path, 4, val_size=3)
    with pytest.raises(UserError, match="has no latents of these train images, which the first process writes"):
        data.setup("fit")
    assert encoded == [] and not data.prepare_data_per_node


@pytest.mark.parametrize("change", [{"init": 1}, {"world": 1}])
def test_another_first_stage_or_other_pictures_are_encoded_anew(make, encoded, change):
    before = np.array(make().train_moments)
    encoded.clear()
    assert not (make(**change).train_moments == before).all()
    assert sum(encoded) >= 9


def test_an_interrupted_encoding_is_never_taken_for_a_finished_one(make, monkeypatch):
    """Interrupted latents are not reused, not even with the first stage of the latents before."""
    expected = np.array(make(init=0).train_moments)

    def interrupted(first_stage, images):
        if len(images) > 1:
            raise KeyboardInterrupt
        return np.zeros((1, 2, 4, 8, 8), dtype=np.float16)

    with monkeypatch.context() as patch:
        patch.setattr(latents, "moments", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make(init=1)
    assert (make(init=0).train_moments == expected).all()


def test_a_table_in_use_keeps_its_numbers_while_another_first_stage_s_takes_its_place(make):
    in_use = make(init=0).train_moments
    before = np.array(in_use)
    assert not (make(init=1).train_moments == before).all()
    assert (in_use == before).all()


def test_batch_k_is_a_pure_function_of_seed_and_k(make):
    one, other = make(), make()
    for k in (5, 0, 3):
        batch, again = one.train_batch(k), other.train_batch(k)
        assert batch["caption"] == again["caption"] == [one.train.caption(i, k) for i in epoch_indices(6, 4, 0, k)]
        assert torch.equal(batch["mean"], again["mean"]) and torch.equal(batch["std"], again["std"])
    assert make(seed=1).train_batch(5)["caption"] != one.train_batch(5)["caption"]


def test_validation_sees_the_first_pictures_once(make):
    data = make()
    seen = list(data.val_dataloader())
    assert [text for batch in seen for text in batch["caption"]] == [data.val.caption(i, 0) for i in range(3)]
    assert (torch.cat([batch["mean"] for batch in seen]).half().numpy() == data.val_moments[:, 0]).all()


def test_unit_scale_brings_sampled_latents_to_unit_variance():
    rng = np.random.default_rng(0)
    mean, std = 3.0 * rng.standard_normal((2000, 4, 2, 2)), rng.uniform(0.5, 2.0, (2000, 4, 2, 2))
    z = unit_scale(np.stack([mean, std], axis=1)) * (mean + std * rng.standard_normal(mean.shape))
    assert z.std() == pytest.approx(1.0, abs=0.02)


def npy(*shape, dtype=np.float16):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(shape, dtype))
    return buffer.getvalue()


BROKEN = {
    "train.json": [b"", b"{", b"[]", b"7", b"\xff\xfe\x00", b"[" * 100_000, b'{"count": 6}'],
    "train.npy": [
        b"", b"not an array", b"PK\x03\x04 nor this", npy(6, 2, 4, 8, 8)[:100], npy(6, 2, 4, 8, 8)[:-1],
        npy(6, 2, 4, 8, 8).replace(b"(6, 2", b"((((("), npy(5, 2, 4, 8, 8), npy(6, 2, 4, 8),
        npy(6, 2, 4, 8, 8, dtype=int),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "content"), [(name, content) for name in BROKEN for content in BROKEN[name]])
def test_a_broken_cache_is_encoded_anew(make, encoded, tmp_path, name, content):
    first = np.array(make().train_moments)
    encoded.clear()
    (tmp_path / "latents" / name).write_bytes(content)
    assert (make().train_moments == first).all()
    assert encoded == [1, 6]
    encoded.clear()
    assert (make().train_moments == first).all() and encoded == []
