import json
import logging
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ldm.modules.text import WordPiece
from ldm.sampling import Sampler
from ldm.weights.fingerprint import weights_hash
from tests.conftest import VOCABULARY
from textual_inversion.callbacks import ContactSheet, Evaluate, Messages, Previews, SaveWords
from textual_inversion.evaluation.clip import SmallCLIP
from textual_inversion.evaluation.evaluation import Evaluation, Prompt, require_same_protocol
from textual_inversion.evaluation.subjects import Pipeline, SubjectInputs, Word
from textual_inversion.pictures import load_pictures
from textual_inversion.words.file import load_words

# Lightning warns about modules in eval mode, but the frozen model must be in it.
pytestmark = pytest.mark.filterwarnings("ignore:Found .* in eval mode")
SAMPLING = {"sampler": Sampler(2), "guidance": 2.0}


def previews(folder, at_steps):
    return Previews(str(folder), at_steps, "a photo of {}", **SAMPLING)


def test_a_run_leaves_words_previews_sheets_and_says_where(inversion, concept, trainer, tmp_path, caplog):
    module = inversion(concept("<cat-toy>", num_vectors=2), concept("T*", "owl"))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("seed: 0\n", encoding="utf-8")
    callbacks = [
        SaveWords(str(run), "tiny"),
        previews(run / "previews", [0, 2]),
        ContactSheet(str(run), str(run / "previews"), ["a photo of {}"], columns=2, **SAMPLING),
        Messages(str(run), "python scripts/generate.py debug=tiny"),
    ]
    with caplog.at_level(logging.INFO):
        trainer(3, callbacks=callbacks).fit(module)

    saved = load_words(run, width=16)
    assert [word.placeholder for word in saved] == ["<cat-toy>", "T*"]
    for word, vectors in zip(saved, module.embeddings.vectors, strict=True):
        assert torch.equal(word.vectors, vectors)
        facts = {
            "steps": 3,
            "config": "seed: 0\n",
            "model": "tiny",
            "model_fingerprint": weights_hash(module.ldm.cond_stage_model),
        }
        assert facts.items() <= word.provenance.items()
        assert word.provenance["nearest_words"] == module.nearest_words(word.placeholder)

    made = sorted(str(path.relative_to(run)) for path in run.rglob("*.png"))
    expected = ["0-00000.png", "0-00002.png", "1-00000.png", "1-00002.png"]
    assert made == ["contact_sheet.png", "contact_sheet_1.png", *(f"previews/{name}" for name in expected)]

    said = caplog.messages[-3:]
    assert [Path(re.search(r"\S+/\S+$", line)[0]).resolve() for line in said[:2]] == [
        run / "contact_sheet.png",
        run / "learned_embeds.safetensors",
    ]
    command = shlex.split(said[2].split(": ", 1)[1])
    assert command[:3] == ["python", "scripts/generate.py", "debug=tiny"]
    assert Path(command[3].removeprefix("word=")).resolve() == run
    assert command[4] == "prompt=a photo of <cat-toy> on the moon"


def test_words_are_saved_at_every_validation(inversion, concept, trainer, tmp_path):
    module, steps = inversion(concept()), []

    class Look(SaveWords):
        def on_validation_end(self, trainer, pl_module):
            super().on_validation_end(trainer, pl_module)
            (word,) = load_words(self.path)
            assert torch.equal(word.vectors, pl_module.embeddings.vectors[0])
            steps.append(word.provenance["steps"])

    look = Look(str(tmp_path / "run"), "tiny")
    trainer(4, callbacks=[look], limit_val_batches=None, val_check_interval=2).fit(module)
    assert steps == [2, 4]


def test_looking_does_not_change_what_is_learned(inversion, concept, trainer, tmp_path):
    watched, alone = inversion(concept()), inversion(concept())
    trainer(3, callbacks=[previews(tmp_path / "p", [0, 1, 2])]).fit(watched)
    trainer(3).fit(alone)
    assert torch.equal(watched.embeddings.vectors[0], alone.embeddings.vectors[0])


def test_previews_differ_by_the_word_alone(inversion, concept, trainer, tmp_path):
    still = inversion(concept("S*", learning_rate=1e-30), concept("T*", learning_rate=1.0))
    trainer(2, callbacks=[previews(tmp_path, [0, 2])]).fit(still)
    s_0, s_2, t_0, t_2 = (np.asarray(Image.open(path)) for path in sorted(tmp_path.glob("*.png")))
    assert (s_0 == s_2).all() and (s_0 == t_0).all() and (t_0 != t_2).any()


def test_a_prompt_without_a_slot_is_an_error_before_the_run(tmp_path):
    with pytest.raises(ValueError, match=r"'a photo' has no \{\}"):
        Previews("previews", [0], "a photo", **SAMPLING)
    with pytest.raises(ValueError, match=r"'a sketch' has no \{\}"):
        ContactSheet("run", "previews", ["a photo of {}", "a sketch"], columns=2, **SAMPLING)


@pytest.fixture
def evaluation():
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"image_size": 16, "patch_size": 4, "image_width": 16, "image_layers": 1, "image_heads": 2}
    sizes |= {"text_width": 16, "text_layers": 1, "text_heads": 2, "projection": 8}
    clip = SmallCLIP(WordPiece(VOCABULARY, max_length=16), **sizes)
    return Evaluation(clip, [Prompt("a photo of {} on the moon", "background")], samples=3, prompt_samples=2)


def test_every_word_is_evaluated_at_the_end_as_it_would_be_from_its_file(
    inversion, concept, trainer, evaluation, tmp_path
):
    module, run = inversion(concept("S*", num_vectors=2), concept("T*", "owl", first=2)), tmp_path / "run"
    trainer(3, callbacks=[SaveWords(str(run), "tiny"), Evaluate(str(run), evaluation, **SAMPLING)]).fit(module)
    assert sorted(path.name for path in run.glob("eval*")) == ["evaluation.json", "evaluation_1.json"]
    results = [json.loads((run / name).read_text()) for name in ("evaluation.json", "evaluation_1.json")]
    assert results[0]["image_similarity"] != results[1]["image_similarity"]
    require_same_protocol({"S*": results[0], "T*": results[1]})

    pipeline = Pipeline(module.ldm, **SAMPLING)
    for word, learner, result in zip(load_words(run), module.concepts, results, strict=True):
        images = load_pictures(
            Path(learner.images), 16
        ).images  # all images, also if the word was learned from the first two
        again = evaluation(Word(SubjectInputs(pipeline, word, tmp_path, images)), pipeline, images, progress=False)
        assert again.pop("protocol") == result.pop("protocol")
        assert again["image_similarity"] == pytest.approx(result["image_similarity"], abs=1e-5)
        assert again["text_similarity"] == pytest.approx(result["text_similarity"], abs=1e-5)


def test_to_evaluate_does_not_change_what_is_learned(inversion, concept, trainer, evaluation, tmp_path):
    judged, alone = inversion(concept()), inversion(concept())
    trainer(2, callbacks=[Evaluate(str(tmp_path), evaluation, **SAMPLING)]).fit(judged)
    trainer(2).fit(alone)
    assert torch.equal(judged.embeddings.vectors[0], alone.embeddings.vectors[0])
