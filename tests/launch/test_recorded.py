"""Files of earlier runs are data: they choose among the project's configs and set values, and name no code."""

import json
import re

import pytest

from launch.recorded import concepts_in, is_harmless, with_resumed_sweep


def record(folder, content) -> str:
    (folder / "sweep.json").write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return f"sweep.resume={folder}"


@pytest.mark.parametrize(
    "argument",
    [
        "experiment=cat_toy", "debug=tiny", "scale=ldm_1p4b", "launcher=packed", "sweep=lr", "-m",
        "logger=[wandb,tensorboard]", "concept=owl_toy,cat_toy", "optim.lr=0.01,0.02", "seed=0,1,2",
        "concept.placeholder='<cat toy>'",
        "concept.initializer=cat", "concept.images='/home/me/my photos'", "start_from=../runs/x/weights", "resume=null",
        "~callbacks.sheet", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=runs/x", "slurm.partition=gpu", "trainer=ddp",
        "templates@concept=relation", "trainer.max_steps=range(2,6)", "setup=progressive",
    ],
)  # fmt: skip
def test_ordinary_settings_are_harmless(argument):
    assert is_harmless(argument)


@pytest.mark.parametrize(
    "argument",
    [
        "+callbacks.evil._target_=os.system", "++callbacks.x.y=1", "callbacks.sheet._target_=os.system",
        "callbacks.sheet={_target_:os.system,command:ls}", "sampler.solve.path=builtins.exec", "--config-dir=/tmp/evil",
        "-cn=/tmp/evil", "hydra.searchpath=[/tmp/evil]", "hydra/launcher=evil", "hydra.launcher.setup=['touch x']",
        "hydra.job_logging.handlers.x.class=os.system", "hydra.callbacks.x._target_=os.system", "seed=${oc.env:HOME}",
        "experiment=../../tmp/evil", "experiment=/tmp/evil", "concept=cat_toy,../evil", "paths.run=/home/me/.ssh",
        "callbacks.checkpoint.folder=/home/me", "callbacks.metrics.path=/etc/passwd", "hydra.run.dir=/etc",
        "slurm.partition='a\nrm -r x'", "a.b._args_=[1]", "= =", "",
    ],
)  # fmt: skip
def test_what_could_run_code_or_write_elsewhere_is_not(tmp_path, argument):
    assert not is_harmless(argument)
    resume = record(tmp_path, {"command": ["experiment=cat_toy", argument], "jobs": []})
    with pytest.raises(SystemExit, match=re.escape(f"sets {argument!r}, which could run code")):
        with_resumed_sweep([resume])


def test_a_setting_that_the_user_repeats_is_obeyed_in_its_place(tmp_path):
    own = "+trainer.gradient_clip_val=1"
    resume = record(tmp_path, {"command": ["experiment=cat_toy", own, "seed=0,1", "hydra.sweep.dir=old"], "jobs": []})
    command = with_resumed_sweep([resume, own, "launcher=local"])
    assert command == ["experiment=cat_toy", own, "seed=0,1", "launcher=local", f"hydra.sweep.dir={tmp_path}"]


@pytest.mark.parametrize(
    "content", ["", "{", "[" * 100_000, "[]", "{}", '{"command": "rm"}', '{"command": [1]}', '{"command": [["a"]]}']
)
def test_a_damaged_record_ends_in_a_sentence(tmp_path, content):
    with pytest.raises(SystemExit, match=r"error: .*sweep\.json is damaged: start the sweep again"):
        with_resumed_sweep([record(tmp_path, content)])


def test_a_folder_without_a_record_is_named(tmp_path):
    with pytest.raises(SystemExit, match="is not the folder of a sweep"):
        with_resumed_sweep([f"sweep.resume={tmp_path}"])
    assert with_resumed_sweep(["experiment=cat_toy"]) == ["experiment=cat_toy"]


def config_of(**concept) -> str:
    return json.dumps({"module": {"concepts": [{"placeholder": "S*", "images": "photos", **concept}]}})


def test_the_folder_of_images_is_read_from_a_words_config():
    assert concepts_in(config_of()) == {"S*": "photos"}


@pytest.mark.parametrize(
    "config",
    [
        None, 3, "", "[", "[" * 50_000, "module: {concepts: 3}", "module: {concepts: [3]}", "module: [concepts]",
        config_of(images=3), config_of(images="a\x00b"), config_of(placeholder=["S*"]), "a: &a [1]\nb: *a\n",
        "x" * 10**6,
        "a: &a {x: 1}\nmodule: {<<: [*a, *a]}", "module: !!python/object/apply:os.system [ls]", "a: 2024-99-99",
    ],
)  # fmt: skip
def test_any_other_config_in_a_word_is_left_out(config):
    assert concepts_in(config) == {}


def test_a_short_text_cannot_stand_for_a_long_one():
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    assert concepts_in(bomb) == {}


def test_interpolations_in_a_words_config_are_text(monkeypatch):
    monkeypatch.setenv("SECRET", "open")
    assert concepts_in(config_of(images="${oc.env:SECRET}")) == {"S*": "${oc.env:SECRET}"}
