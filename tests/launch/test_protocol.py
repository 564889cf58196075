"""The protocol of a folder of results: what changes it, and that nothing of another one is added."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from launch import CONFIGS
from launch.reproduction import protocol as module
from launch.reproduction.protocol import PROTOCOL, claim_folder, protocol_hash, resolve_protocol
from launch.reproduction.reproduce import open_store
from ldm.errors import UserError


@pytest.fixture(autouse=True)
def repository():
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


def protocol_of(*overrides: str):
    config = compose("reproduce", ["figure=all", "figures=[set_size]", "budget=full", *overrides])
    return resolve_protocol(config, open_store(config))


def test_only_what_changes_a_number_or_a_verdict_changes_the_protocol(tmp_path):
    same = ["figure=set_size", "budget.pack=1", f"paths.cache={tmp_path}", "figures.set_size.draw.log_x=false"]
    assert protocol_of(*same) == protocol_of()
    changes = ["budget.seeds=[0]", "budget.concepts=[cat_toy]", 'learn=["trainer.max_steps=9"]', "budget.learn=[]"]
    changes += ['evaluate=["protocol.prompt_samples=3"]', "figures.set_size.claims=[]"]
    hashes = [protocol_hash(protocol_of(change)) for change in changes]
    assert len({protocol_hash(protocol_of()), *hashes}) == 1 + len(changes)


def test_the_protocol_holds_the_options_that_rows_choose(tmp_path, monkeypatch):
    rows = 'figures.set_size.rows=[{row: more, learn: ["setup=two"], evaluate: ["subject=bipartite"]}]'
    options = protocol_of(rows)["options"]
    assert options["embedding/two"] == {"num_vectors": 2} and {"setup/two", "subject/bipartite"} <= options.keys()
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup" / "two.yaml").write_text("concept:\n  num_vectors: 2\n")
    monkeypatch.setattr(module, "CONFIGS", tmp_path)
    assert protocol_of(rows)["options"] == {"setup/two": {"concept": {"num_vectors": 2}}}


def test_a_folder_takes_results_of_one_protocol_and_of_the_same_weights(tmp_path):
    protocol = {"budget": {"seeds": [0]}, "figures": {}}
    claim_folder(tmp_path, protocol, {"ldm": "aa"})
    before = (tmp_path / PROTOCOL).read_bytes()
    claim_folder(tmp_path, deepcopy(protocol), {"ldm": "aa"})
    for other, weights, said in (
        ({"budget": {"seeds": [0, 1]}, "figures": {}}, "aa", r"\(budget.seeds.1 was None, is 1\)"),
        ({"budget": {"seeds": []}}, "aa", r"\(budget.seeds was None, is \[\]; .*budget.seeds.0 was 0, is None"),
        (protocol, "bb", r"\(ldm was 'aa', is 'bb'\)"),
    ):
        with pytest.raises(UserError, match=f"holds results of another protocol {said}.*choose another folder"):
            claim_folder(tmp_path, other, {"ldm": weights})
    assert (tmp_path / PROTOCOL).read_bytes() == before and json.loads(before)["hash"] == protocol_hash(protocol)


def test_results_without_a_protocol_are_not_added_to(tmp_path: Path):
    (tmp_path / "bias.claims.json").write_text("[]")
    (tmp_path / PROTOCOL).write_text("{brok")
    with pytest.raises(UserError, match=r"without a readable protocol\.json"):
        claim_folder(tmp_path, {}, {})
