"""Evaluation from the command line: metrics, comparison with earlier results, and results that cannot be compared."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from textual_inversion.evaluation.evaluation import RESULT, summary
from textual_inversion.words.file import FILE_NAME, LearnedWord, save_words

SMALL = ["debug=tiny", "sampler.steps=1", "protocol.samples=2", "protocol.prompt_samples=1", "protocol.classifier=null"]
PROMPTS = [
    {
        "_target_": "textual_inversion.evaluation.evaluation.Prompt",
        "kind": "background",
        "text": "a photo of {} on the moon",
    },
    {"_target_": "textual_inversion.evaluation.evaluation.Prompt", "kind": "style", "text": "an oil painting of {}"},
]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)):
        Image.fromarray(image).save(folder / f"{i}.png")
    (folder / "long.txt").write_text("a red cat\n")
    return folder


@pytest.fixture
def word(tmp_path, pictures):
    """Return a builder of run folders with words, whose provenance names the folder of their images."""

    def build(*placeholders, width=16, told=True):
        run = tmp_path / f"run of {' '.join(placeholders)}"
        concepts = [{"placeholder": placeholder, "images": str(pictures)} for placeholder in placeholders]
        origin = {"config": json.dumps({"module": {"concepts": concepts}})} if told else {}
        rng = torch.Generator().manual_seed(0)
        words = [LearnedWord(name, torch.randn(1, width, generator=rng), origin) for name in placeholders]
        save_words(run / FILE_NAME, words)
        return run

    return build


@pytest.fixture
def evaluate(run_script, tmp_path):
    """Return a function that runs the script with a fixed random model: exit code, output, folder."""

    def run(*arguments, into="one"):
        folder = tmp_path / "runs" / into
        torch.manual_seed(0)
        prompts = f"protocol.prompts={json.dumps(PROMPTS)}".replace('"_target_"', "_target_")
        prompts = re.sub(r'"(kind|text)":', r"\1:", prompts)
        return *run_script("evaluate", *SMALL, prompts, *arguments, f"hydra.run.dir={folder}"), folder

    return run


def result_in(folder):
    return json.loads((folder / RESULT).read_text())


def test_a_run_is_evaluated_on_the_pictures_that_it_learned_from(evaluate, word):
    code, said, folder = evaluate(f"word={word('S*')}")
    assert code == 0, said
    result = result_in(folder)
    assert result["protocol"]["samples"] == 2 and result["protocol"]["image_size"] == 16
    assert [row["text"] for row in result["prompts"]] == [prompt["text"] for prompt in PROMPTS]
    assert f"all metrics and their protocol: {folder / RESULT}" in said
    for name, value in summary(result).items():
        assert re.search(rf"^{name} +{value:.3f}$", said, flags=re.MULTILINE)


@pytest.mark.integration
def test_results_of_one_protocol_stand_side_by_side(evaluate, word, pictures):
    code, said, first = evaluate(f"word={word('S*')}")
    assert code == 0, said
    subjects = ["image_only", "long_captions", "prompt_only"]
    for subject in subjects:
        code, said, folder = evaluate(
            f"subject={subject}", f"images={pictures}", f"against=[{first}]", "batch_size=1", into=subject
        )
        assert code == 0, said
        mine, theirs = (result_in(place)["image_similarity"] for place in (folder, first))
        assert re.search(rf"^image_similarity +{mine:.3f} +{theirs:.3f}$", said, flags=re.MULTILINE)
    found = {result_in(first.parent / name)["image_similarity"] for name in ("one", *subjects)}
    assert len(found) == 4


def test_results_of_unlike_protocols_are_refused_before_anything_is_generated(evaluate, word):
    run = word("S*")
    _, _, first = evaluate(f"word={run}")
    code, said, folder = evaluate(f"word={run}", f"against=[{first / RESULT}]", "seed=1", "guidance=2.0", into="other")
    assert code == 1
    (sentence,) = re.findall(r"^error: (.*)$", said, flags=re.MULTILINE)
    assert "cannot be compared: they were evaluated with a different guidance, seed." in sentence
    assert "Traceback" not in said
    assert not (folder / RESULT).exists()


@pytest.mark.parametrize(
    ("arguments", "what", "remedy"),
    [
        ([], "which pictures should it be compared with?", "Give images="),
        (["images={pictures}"], "there is no learned word to evaluate", "add word="),
        (["word={untold}"], "which pictures should it be compared with?", "Give images="),
        (["word={two}"], "{two} holds 2 words", "scripts/embeddings.py split"),
        (["word={missing}"], "there are no learned words at {missing}", "Near it are"),
        (["word={wide}"], "has 1280 numbers per vector, the model's words have 16", "Use that model"),
        (["word={one}", "images={missing}"], "there is no folder {missing}", "Put 3 to 5 pictures"),
        (["word={one}", "first=9"], "holds 3 pictures, 9 are asked for", "ask for fewer"),
        (
            ["subject=short_captions", "images={pictures}"],
            "there are no captions at {pictures}/short.txt",
            "one per line",
        ),
        (["subject=pivotal", "word={one}"], "does not name its initializer", "learn the word again"),
        (["word={one}", "against=[{missing}]"], "{missing} is not a result of evaluate.py", "evaluate again"),
        (
            ["word={one}", "against=[{pictures}/long.txt]"],
            "long.txt is not a result of evaluate.py",
            "give another file",
        ),
        (["word={one}", "protocol.samples=0"], "protocol.samples is 0", "1 or more"),
    ],
)
def test_a_mistake_ends_in_one_sentence_and_leaves_nothing(evaluate, word, pictures, tmp_path, arguments, what, remedy):
    places = {"pictures": pictures, "missing": tmp_path / "missing", "two": word("S*", "T*"), "one": word("S*")}
    places |= {"wide": word("W*", width=1280), "untold": word("U*", told=False)}
    code, said, folder = evaluate(*(argument.format(**places) for argument in arguments))
    assert code == 1
    (sentence,) = re.findall(r"^error: (.*)$", said, flags=re.MULTILINE)
    assert what.format(**places) in sentence and remedy in sentence
    assert "Traceback" not in said
    assert not folder.exists()
