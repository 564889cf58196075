"""The hashes of cells do not change with settings that change no word."""

import pytest
from omegaconf import OmegaConf

from launch.reproduction.hashes import train_hash

CONFIG = {"module": {"concepts": [{"placeholder": "S*"}]}, "trainer": {}, "seed": 0, "start_from": None}


def hash_of(**concept) -> str:
    config = OmegaConf.create(CONFIG)
    config.module.concepts[0] = {"placeholder": "S*", **concept}
    return train_hash(config)


def test_no_start_is_as_before_there_was_one():
    assert hash_of() == hash_of(start=None)


def test_checkpointing_changes_no_word():
    config = OmegaConf.create(CONFIG)
    before = train_hash(config)
    assert [train_hash(OmegaConf.merge(config, {"module": {"checkpointing": on}})) for on in (False, True)] == [
        before
    ] * 2


@pytest.mark.parametrize("other", ["b.pt", "c.pt"])
def test_a_start_is_known_by_its_content(tmp_path, other):
    (tmp_path / "a.pt").write_bytes(b"a word")
    (tmp_path / "b.pt").write_bytes(b"a word")
    (tmp_path / "c.pt").write_bytes(b"another word")
    first, second = hash_of(start=str(tmp_path / "a.pt")), hash_of(start=str(tmp_path / other))
    assert (first == second) == (other == "b.pt") and first != hash_of()
