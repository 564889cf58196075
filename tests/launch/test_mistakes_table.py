"""Mistakes of every kind. Each ends in exit code 1 and one or two sentences, without a traceback, before any model is
built, and leaves nothing behind."""

import re

import pytest

from tests.tables import every

CAT = ("train", "experiment=cat_toy", "debug=tiny")
MOON = ("generate", "debug=tiny", "prompt=a photo of a cat")
WORD = ("evaluate", "debug=tiny", "word={file}")

NO_WHOLE = "give a whole number"
NO_NUMBER = "give a number"


def values(command, setting, *wrong, said):
    return [((*command, f"{setting}={value}"), f"{setting} is ", said) for value in wrong]


# One or two of every kind: (command with arguments, what the message names, what it says to do). {tmp} is a folder with
# the file {file}, the folder {empty}, and nothing else.
FEW = [
    *values(CAT, "optim.lr", "fast", "nan", "0", said=NO_NUMBER),
    *values(CAT, "seed", "-1", "1.5", said=NO_WHOLE),
    *values(CAT, "trainer.max_steps", "0", said=NO_WHOLE),
    *values(CAT, "module.batch_size", "1.5", said=NO_WHOLE),
    *values(CAT, "callbacks.checkpoint.every_steps", "0", said=NO_WHOLE),
    *values(CAT, "concept.first", "0", said=NO_WHOLE),
    *values(CAT, "concept.flip", "maybe", said="give true or false"),
    *values(CAT, "concept.placeholder", "null", said="give a text"),
    *values(MOON, "guidance", "nan", "strong", said=NO_NUMBER),
    *values(MOON, "count", "0", said=NO_WHOLE),
    *values(MOON, "sampler.steps", "0", said=NO_WHOLE),
    ((*CAT, "concept.images=20240105"), "there is no folder", "20240105"),
    ((*CAT, "concept.images={tmp}/Bär (1)"), "there is no folder", "Bär (1)"),
    ((*CAT, "concept.images=~/no such folder"), "there is no folder /", "no such folder"),
    ((*CAT, "concept.images={file}"), "is a file", "set images to the folder"),
    ((*CAT, "concept.images={empty}"), "no pictures in", "Put 3 to 5 pictures"),
    ((*CAT, "concept.placeholder=' '"), "concept.placeholder is ' '", "give a text"),
    ((*CAT, "concept.initializer=toy cat"), "initializer 'toy cat'", "must be one word"),
    ((*CAT, "concept.initializer=qwertz"), "'qwertz'", "vocabulary"),
    ((*CAT, "concept.templates=[a photo of {{}}]"), "cannot be parsed", "\"concept.templates=['a photo of {{}}']\""),
    ((*CAT, "concept.templates=[a photo]"), "'a photo' holds {{}} 0 times", "concept 'S*'"),
    ((*CAT, "trainer.precision=half"), "the trainer cannot be built", "change the settings in trainer"),
    ((*CAT, "trainer.devices=0"), "trainer.devices is 0", NO_WHOLE),
    ((*CAT, "trainer.acelerator=cpu"), "no setting trainer.acelerator", "Did you mean trainer.accelerator"),
    ((*CAT, "+trainer.colour=red"), "the trainer cannot be built", "colour"),
    ((*CAT, "+concept.colour=red"), "no setting colour", "remove it"),
    ((*CAT, "callbacks.sheet.sampler.steps=1000"), "1000 sampling steps", "choose 1 to"),
    ((*CAT, "resume={tmp}/last.ckpt"), "does not exist", "remove the setting"),
    ((*CAT, "start_from={tmp}/weights"), "no weights at", "weights"),
    ((*CAT, "seed=${{nothing}}"), "refers to nothing", "give it a value"),
    ((*CAT, "~seed"), "refers to seed, which does not exist", "give it a value"),
    ((*CAT, "--sweep"), "unrecognized arguments: --sweep", "name=value"),
    ((*CAT, "--config-name=trian"), "trian", "config"),
    ((*CAT, "hydra.run.dir={file}"), "{file}", "choose another place"),
    ((*CAT, "hydra.run.dir={file}/run"), "{file}", "choose another place"),
    (("train",), "nothing to do", "add experiment=<one of"),
    (("train", "debug=tiny"), "debug=tiny changes model@module.ldm.module", "choose an experiment first"),
    (("generate", "debug=tiny"), "prompt has no value", "add prompt=..."),
    (("generate", "debug=tiny", "prompt=S*"), "mentions S*", "add word=<run folder or file>"),
    ((*MOON, "word={tmp}/none"), "there are no learned words at", "Give a run folder"),
    ((*MOON, "word={file}"), "{file}", ""),
    ((*WORD,), "{file}", ""),
    (("edit", "debug=tiny", "prompt=a cat"), "image has no value", "add image=..."),
    (("read_word", "debug=tiny", "word={tmp}/none"), "no learned words at", "Give a run folder"),
    (("invert", "debug=tiny", "image={file}"), "is named like a picture but holds none", "replace it"),
    (("tune", "debug=tiny", "word={tmp}/none"), "no learned words at", "Give a run folder"),
    ((*MOON, "difference={tmp}/none"), "there is no difference at", "give a run folder"),
    (("evaluate", "debug=tiny", "word={tmp}/20240105"), "no learned words at", "Give a run folder"),
    (("export", "debug=tiny", "scale=toyland", "folder={empty}"), "already exists", "choose another folder"),
    (("reproduce", "figure=42"), "there is no figure 42", "choose from"),
    (("embeddings", "inspect", "{tmp}/none"), "there are no learned words", "Give a run folder"),
    (("concepts", "cat_toy", "--into", "{file}"), "{file}", "choose another place"),
]  # fmt: skip
# More values of the same kinds
MANY = [
    *values(CAT, "optim.lr", "-0.1", "inf", "true", "null", "''", "1e-3x", said=NO_NUMBER),
    *values(CAT, "seed", "null", "one", "true", "1e3", "nan", said=NO_WHOLE),
    *values(CAT, "trainer.max_steps", "-1", "1.5", "many", "null", "inf", said=NO_WHOLE),
    *values(CAT, "module.batch_size", "0", "-1", "two", "null", said=NO_WHOLE),
    *values(CAT, "samples_a_step", "0", "-4", "four", said=NO_WHOLE),
    *values(CAT, "image_size", "0", "-16", "big", "15.5", said=NO_WHOLE),
    *values(CAT, "callbacks.checkpoint.every_steps", "-1", "1.5", "often", "null", said=NO_WHOLE),
    *values(CAT, "+callbacks.checkpoint.every_minutes", "0", "-1", "soon", said=NO_NUMBER),
    *values(CAT, "callbacks.metrics.every", "0", "-2", "0.5", said=NO_WHOLE),
    *values(CAT, "callbacks.sheet.columns", "0", "-1", "wide", said=NO_WHOLE),
    *values(CAT, "callbacks.sheet.sampler.steps", "0", "1.5", "few", said=NO_WHOLE),
    *values(CAT, "callbacks.previews.at_steps", "[0,-1]", "[0,1.5]", "[a]", "soon", said=NO_WHOLE),
    *values(CAT, "concept.first", "-1", "1.5", "all", said=NO_WHOLE),
    *values(CAT, "concept.num_vectors", "0", "-1", "1.5", "three", "null", said=NO_WHOLE),
    *values(CAT, "concept.seed", "-1", "0.5", said=NO_WHOLE),
    *values(CAT, "concept.flip", "2", "null", "left", said="give true or false"),
    *values(CAT, "concept.learning_rate", "0", "-1", "nan", "fast", said=NO_NUMBER),
    *values(CAT, "concept.initializer", "null", "[2]", said="give a text"),
    ((*CAT, "concept.images=null"), "images is None", "give a text"),
    *values(CAT, "module.weight_decay", "-1", "nan", "some", said=NO_NUMBER),
    *values(CAT, "guidance", "inf", "null", said=NO_NUMBER),
    *values(CAT, "rates.base", "0", "nan", "quick", said=NO_NUMBER),
    *values(CAT, "trainer.val_check_interval", "0", "-1", "often", said=NO_NUMBER),
    *values(CAT, "own_gpu", "2", "gpu0", said="give true or false"),
    ((*CAT, "resume=5"), "resume=5: the checkpoint does not exist", "remove the setting"),
    *values(MOON, "guidance", "inf", "-inf", "null", "true", said=NO_NUMBER),
    *values(MOON, "count", "-1", "1.5", "six", "null", said=NO_WHOLE),
    *values(MOON, "seed", "-1", "1.5", "nan", "null", said=NO_WHOLE),
    *values(MOON, "sampler.steps", "-1", "1.5", "null", "ten", said=NO_WHOLE),
    *values(WORD, "batch_size", "0", "-1", "1.5", "null", said=NO_WHOLE),
    *values(WORD, "first", "0", "-1", "1.5", "all", said=NO_WHOLE),
    *values(WORD, "protocol.samples", "0", "-1", "0.5", "few", said=NO_WHOLE),
    *values(WORD, "protocol.prompt_samples", "0", "-1", "x", said=NO_WHOLE),
    *values(WORD, "guidance", "nan", "x", said=NO_NUMBER),
    *values(WORD, "seed", "-1", "x", said=NO_WHOLE),
    *values(("score",), "pictures_each", "0", "1.5", said=NO_WHOLE),
    *values(("score",), "frechet", "-1", said=NO_WHOLE),
    *values(("reproduce", "figure=style"), "budget.pack", "0", "x", said=NO_WHOLE),
    *values(("reproduce", "figure=style"), "budget.samples", "0", "1.5", said=NO_WHOLE),
    *values(("benchmark", "case=inversion"), "case.rounds", "0", "x", said=NO_WHOLE),
    *values(("train", "experiment=toyland_clip"), "module.optimizer.lr", "-1", "fast", said=NO_NUMBER),
    *values(("train", "experiment=toyland_clip"), "data.batch_size", "0", "1.5", said=NO_WHOLE),
    *values(("train", "experiment=toyland_clip"), "module.schedule.warmup", "-1", "x", said=NO_WHOLE),
    *values(("app", "debug=tiny"), "port", "0", "1.5", "x", said=NO_WHOLE),
    *values(("read_word", "debug=tiny", "word={file}"), "between", "0", "x", said=NO_WHOLE),
    *values(("edit", "debug=tiny", "prompt=a cat", "image={file}", "mask={file}"), "best", "0", "x", said=NO_WHOLE),
    ((*CAT, "concept.images={tmp}/~"), "there is no folder", "~"),
    ((*CAT, "concept.images={tmp}/a, b"), "gives several values", "\"concept.images='{tmp}/a, b'\""),
    ((*CAT, "concept.images={tmp}/O'Hara"), "there is no folder", "O'Hara"),
    ((*CAT, "concept.placeholder='S* '"), "begins or ends with a space", "leave the space out"),
    ((*CAT, "concept.templates=[]"), "templates is empty", "give at least one sentence"),
    ((*CAT, "concept.templates=photo"), "templates is the text 'photo'", "give a list"),
    ((*CAT, "concept.templates=['{{}} and {{}}']"), "2 times", "concept 'S*'"),
    ((*CAT, "callbacks.sheet.sampler.steps=5000"), "5000 sampling steps", "choose 1 to"),
    ((*CAT, "concept.images={{a: b}}"), "there is no folder", "a: b"),
    ((*CAT, "trainer.accelerator=tpu"), "the trainer cannot be built", "trainer"),
    ((*CAT, "trainer.devices=two"), "trainer.devices is 'two'", NO_WHOLE),
    ((*CAT, "trainer.devices=-2"), "trainer.devices is -2", NO_WHOLE),
    ((*CAT, "trainer.strategy=fast"), "no setting trainer.strategy", "Choose trainer.accelerator"),
    ((*CAT, "+trainer.strategy=fast"), "the trainer cannot be built", "change the settings in trainer"),
    ((*CAT, "optim=fast"), "there is no optim=fast", "Choose optim=" ),
    ((*CAT, "setup=tow"), "there is no setup=tow", "Did you mean setup=two"),
    ((*CAT, "debug=tyni"), "", ""),
    ((*CAT, "seed"), "'seed' is not a setting", "name=value"),
    ((*CAT, "seed = 1"), "", ""),
    ((*CAT, "seed==1"), "cannot be parsed", "If the value is text"),
    ((*CAT, "=1"), "must be a string", "--help lists the choices"),
    ((*CAT, "seed=(1)"), "cannot be parsed", "If the value is text"),
    ((*CAT, "seed=1)"), "cannot be parsed", "If the value is text"),
    ((*CAT, "callbacks.previews.prompt=no slot"), "'no slot'", "{{}}"),
    ((*CAT, "optim.lr=1,2"), "gives several values", "add --multirun"),
    ((*CAT, "--cfg"), "--cfg", "name=value"),
    ((*CAT, "--config-dir={tmp}/none"), "{tmp}/none", "not found"),
    ((*CAT, "--resolve"), "--resolve", "--cfg"),
    ((*CAT, "+seed=1"), "there is a setting seed", "leave out the +"),
    ((*CAT, "~sead"), "sead", ""),
    ((*CAT, "~trainer.max_steps"), "max_steps", ""),
    ((*CAT, "+trainer.accumulate_grad_batches=2"), "accumulate_grad_batches is 2", "module.checkpointing=true"),
    ((*CAT, "trainer=null"), "must be a string", "--help lists the choices"),
    ((*CAT, "module=null"), "module has no value", "nothing to train"),
    (("fetch",), "model has no value", "Choose model="),
    (("fetch", "model=gpt"), "there is no model=gpt", "Choose model="),
    (("export", "debug=tiny", "scale=toyland"), "folder has no value", "add folder=..."),
    (("reproduce",), "figure has no value", "add figure=..."),
    (("reproduce", "figure=style", "seed=1"), "seed", ""),
    (("reproduce", "figure=style", "budget=paper"), "budget=paper", ""),
    (("score", "ldm.weights={tmp}/none"), "there are no weights at", "ldm.weights="),
    (("benchmark", "case=speed"), "there is no case=speed", "Choose case="),
    (("embeddings", "inspect", "{file}"), "{file}", ""),
    (("embeddings", "inspect", "{empty}"), "there are no learned words", "Give a run folder"),
    (("embeddings", "rename", "{tmp}/none", "a", "b"), "there are no learned words", "Give a run folder"),
]  # fmt: skip


def test_the_table_is_long():
    assert len(FEW) + len(MANY) >= 150


@pytest.fixture
def world(tmp_path):
    (tmp_path / "file").write_text("hello\n")
    (tmp_path / "empty").mkdir()
    return {"tmp": str(tmp_path), "file": str(tmp_path / "file"), "empty": str(tmp_path / "empty")}


@pytest.mark.parametrize(
    ("command", "what", "remedy"),
    [*every(2, FEW), *(pytest.param(*row, marks=pytest.mark.integration) for row in MANY)],
)
def test_a_mistake_ends_in_a_sentence(run_script, tmp_path, world, command, what, remedy):
    name, *arguments = (part.format(**world) for part in command)
    place = (
        []
        if name in ("embeddings", "concepts") or "hydra.run.dir" in str(arguments)
        else [f"hydra.run.dir={tmp_path / 'run'}"]
    )
    before = sorted(tmp_path.rglob("*"))
    code, said = run_script(name, *place, *arguments)
    assert code == 1 and "Traceback" not in said and "this is a bug" not in said, said
    (line,) = said.splitlines()
    assert line.startswith("error: ") and what.format(**world).lstrip("+") in line and remedy.format(**world) in line, (
        line
    )
    assert 1 <= len(re.findall(r"[.?!](?= [A-Z]|$)|[^.?!]$", line)) <= 2, line
    assert sorted(tmp_path.rglob("*")) == before
