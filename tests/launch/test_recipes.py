"""scripts/generate.py: pictures that are made again, words under names of one's choice, the best of several."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image

from launch import CONFIGS
from ldm.images import to_tensor
from tests.tables import every
from textual_inversion import LearnedWord, load_model, read_recipe
from textual_inversion import generate as generate_images
from textual_inversion.embedding_manager import initial_vectors
from textual_inversion.evaluation.ranking import prompt_similarity

PROMPT = "a photo of <a>, <b> and <a> on the moon"
LEAST = 8.0  # of 255: the mean change of a picture when one of its words is left out


@pytest.fixture
def words(tmp_path):
    """Two different words in two files, both called S*."""
    rng = torch.Generator().manual_seed(0)
    for name in ("cat", "oil"):
        LearnedWord("S*", 4.0 * torch.randn(1, 16, generator=rng)).save(tmp_path / f"{name}.safetensors")
    return f"word={{<a>: {tmp_path}/cat.safetensors, <b>: {tmp_path}/oil.safetensors}}"


@pytest.fixture
def generate(run_script, tmp_path):
    """Return a function that runs the script with the tiny model: exit code, output, folder."""

    def run(name, *arguments):
        folder = tmp_path / name
        return *run_script("generate", *arguments, f"hydra.run.dir={folder}"), folder

    return run


@pytest.fixture
def pictures(generate, words):
    """The folder with six pictures of two prompts: both words, and the second alone."""
    arguments = (f"prompt=['{PROMPT}','a photo of <b>, \"blue\"']", "count=3", "seed=4", "negative_prompt=blue, snow")
    code, said, folder = generate("six", "debug=tiny", "sampler=plms", "sampler.steps=2", words, *arguments)
    assert code == 0, said
    return folder


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(float)


def test_a_picture_of_many_is_made_again_with_the_same_bytes(generate, pictures):
    for name, index in (("00-01", 1), ("01-02", 5)):
        recipe = read_recipe(pictures / f"{name}.png")
        assert (recipe.seed, recipe.index, recipe.batch, recipe.sampler.solver) == (4, index, 6, "plms")
        code, said, folder = generate(f"again {name}", f"from={pictures / name}.png")  # without debug=tiny
        assert code == 0 and [path.name for path in sorted(folder.glob("0*.png"))] == ["00-00.png"], said
        assert (folder / "00-00.png").read_bytes() == (pictures / f"{name}.png").read_bytes()


@pytest.mark.parametrize(
    ("setting", "change"),
    every(
        5,
        [
            ("guidance=1.5", {"guidance": 1.5}),
            ("negative_prompt=", {"negative_prompt": ""}),
            ("seed=9", {"seed": 9}),
            ("sampler.steps=3", {"steps": 3}),
            ("prompt=<b> and <a>", {"prompt": "<b> and <a>"}),
        ],
    ),
)
def test_a_changed_setting_changes_only_that(generate, pictures, setting, change):
    before = read_recipe(pictures / "00-01.png")
    if "steps" in change:
        change = {"sampler": replace(before.sampler, steps=change["steps"])}
    code, said, folder = generate("changed", f"from={pictures / '00-01.png'}", setting)
    assert code == 0, said
    now = read_recipe(folder / "00-00.png")
    assert now == replace(before, **change)
    assert (pixels(folder / "00-00.png") != pixels(pictures / "00-01.png")).any()
    words = {name: LearnedWord.load(word.file) for name, word in now.words.items()}
    options = {"seed": now.seed, "index": now.index, "guidance": now.guidance, "sampler": now.sampler.build()}
    options |= {"negative_prompt": now.negative_prompt, "batch_size": 6, "fill": True, "progress": False}
    (expected,) = generate_images(load_model("tiny", device="cpu"), now.prompt, words, **options)
    assert (pixels(folder / "00-00.png") == np.asarray(expected)).all()


def test_each_word_goes_by_the_name_that_is_given_to_its_file(generate, pictures, tmp_path):
    swapped = f"word={{<a>: {tmp_path}/oil.safetensors, <b>: {tmp_path}/cat.safetensors}}"
    code, said, folder = generate("swapped", f"from={pictures / '00-01.png'}", swapped)
    before, now = read_recipe(pictures / "00-01.png"), read_recipe(folder / "00-00.png")
    assert code == 0 and now.words == {"<a>": before.words["<b>"], "<b>": before.words["<a>"]}, said
    assert (pixels(folder / "00-00.png") != pixels(pictures / "00-01.png")).any()


def test_both_words_are_active_in_a_picture_of_toyland():
    ldm = load_model("toyland", device="cpu")
    names = {"<thing>": "owl", "<style>": "pencil"}
    words = {name: LearnedWord("S*", initial_vectors(ldm.text_encoder, like, 1)) for name, like in names.items()}
    both = "a picture of a <thing> in the style of <style>"
    prompts = [both, both.replace("<thing>", "toy"), both.replace(" in the style of <style>", "")]
    used = [words, {"<style>": words["<style>"]}, {"<thing>": words["<thing>"]}]
    together, *without = [
        np.asarray(generate_images(ldm, prompt, some, steps=4, progress=False)[0]).astype(float)
        for prompt, some in zip(prompts, used, strict=True)
    ]
    assert all(abs(picture - together).mean() > LEAST for picture in without)


@pytest.mark.integration
def test_a_word_that_is_gone_or_changed_is_named_and_another_can_take_its_place(generate, pictures, tmp_path):
    again = f"from={pictures / '00-01.png'}"
    (tmp_path / "oil.safetensors").rename(tmp_path / "moved.safetensors")
    code, said, folder = generate("gone", again)
    assert code == 1 and "the word '<b>' of" in said and "which is gone" in said and not folder.exists()
    code, said, folder = generate("moved", again, f"word={{<b>: {tmp_path}/moved.safetensors}}")
    assert code == 0 and (pixels(folder / "00-00.png") == pixels(pictures / "00-01.png")).all(), said
    LearnedWord("S*", torch.ones(1, 16)).save(tmp_path / "oil.safetensors")
    code, said, folder = generate("changed", again)
    assert code == 1 and "oil.safetensors, which holds another word now" in said and not folder.exists()
    code, said, folder = generate("none", again, "word=[]", "prompt=a photo of a cat")
    assert code == 0 and read_recipe(folder / "00-00.png").words == {}, said


def test_the_best_are_those_with_the_highest_scores(generate, pictures, words):
    prompts = [PROMPT, 'a photo of <b>, "blue"']
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("generate", ["paths.run=none"])
    clip = instantiate(config.domain.evaluator, _convert_="all").eval()
    arguments = (f"prompt=['{PROMPT}','a photo of <b>, \"blue\"']", "count=3", "seed=4", "negative_prompt=blue, snow")
    code, said, best = generate("best", "debug=tiny", "sampler=plms", "sampler.steps=2", words, *arguments, "best=2")
    assert code == 0, said
    for i, prompt in enumerate(prompts):
        paths = [pictures / f"{i:02d}-{j:02d}.png" for j in range(3)]
        x = to_tensor(np.stack([pixels(path).astype(np.uint8) for path in paths]))
        with torch.no_grad():
            scores = prompt_similarity(clip, x, prompt, ["<a>", "<b>"]).tolist()
        assert len(set(scores)) == 3
        two = sorted(paths, key=lambda path: scores[paths.index(path)], reverse=True)[:2]
        kept = {path.name: path.read_bytes() for path in best.glob(f"{i:02d}-*.png")}
        assert kept == {path.name: path.read_bytes() for path in two}
        for path in two:
            assert f"similarity {scores[paths.index(path)]:.3f}" in (best / "sheet.html").read_text()


def test_prompts_come_from_a_file_and_stand_escaped_in_one_page(generate, words, tmp_path):
    lines = ["<a>, 'on' the \"moon\"", "", "  a photo of <b> & a cat  ", "<a> {x: ${y}}"]
    (tmp_path / "prompts.txt").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    code, said, folder = generate(
        "filed", "debug=tiny", "sampler.steps=1", "count=1", words, f"prompt_file={tmp_path / 'prompts.txt'}"
    )
    assert code == 0, said
    prompts = [line.strip() for line in lines if line]
    assert [read_recipe(folder / f"{i:02d}-00.png").prompt for i in range(3)] == prompts
    page = (folder / "sheet.html").read_text(encoding="utf-8")
    assert "&lt;a&gt;, &#x27;on&#x27; the &quot;moon&quot;" in page and "<a>" not in page and "<b>" not in page
    assert page.count("data:image/png;base64,") == 3 and "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("arguments", "what", "remedy"),
    every(
        4,
        [
            (["prompt_file={tmp}/none.txt"], "none.txt does not exist", "one prompt per line"),
            (["prompt_file={tmp}"], "is a folder", "one prompt per line"),
            (["prompt_file={tmp}/empty.txt"], "is empty", "write prompts into it"),
            (["prompt_file={tmp}/binary.txt"], "is no text in UTF-8", "save it as a text file"),
            (["prompt_file={tmp}/utf16.txt"], "is no text in UTF-8", "save it as a text file"),
            (["prompt=a cat", "word={{<a>: {tmp}/none}}"], "there are no learned words at", ""),
            (["prompt=a cat", "word={{<a>:{tmp}/cat.safetensors}}"], "cannot be read", "a space after each colon"),
            (["prompt=a cat", "word={{*a: b}}"], "cannot be read", "needs quotes"),
            (["prompt=<a>", "word={{<a>: {tmp}/other.safetensors}}"], "the model's words have 16", "Use that model"),
            (
                ["prompt=<a>", "word={{<a>: {tmp}/oil.safetensors, <a>: {tmp}/cat.safetensors}}"],
                "share a placeholder",
                "",
            ),
            (
                ["prompt=a cat of S_b", "word={{S_a: {tmp}/cat.safetensors}}"],
                "mentions S_b, but only 'S_a' is given",
                "",
            ),
            (["prompt=a cat", "negative_prompt=<b>"], "mentions <b>, but no learned word is given", "add word="),
            (["prompt=a cat", "negative_prompt=null"], "negative_prompt is None", "give a text"),
            (["prompt=a cat", "index=-1"], "index is -1", "give a whole number"),
            (["prompt=a cat", "best=7"], "best=7", "choose 1 to 6"),
            (
                ["prompt=S*", "best=1", "word={tmp}/cat.safetensors"],
                "says nothing besides the learned word",
                "write more",
            ),
            (["prompt=a cat", "best=1", "domain=stable_diffusion_v1"], "no CLIP at", "fetch.py model=clip_vit_b32"),
            (["prompt=a cat", "best=1", "~domain"], "scale=tiny has none", "add configs/domain"),
            (["from={tmp}/none.png"], "there is no picture at", "that generate.py wrote"),
            (["from={tmp}/empty.txt"], "cannot be read as a PNG file", "that generate.py wrote"),
            (["from={tmp}/plain.png"], "holds no parameters", "programs that edit or send"),
        ],
    ),
)
def test_a_mistake_ends_in_one_sentence_and_leaves_nothing(generate, words, tmp_path, arguments, what, remedy):
    (tmp_path / "empty.txt").write_text(" \n\n")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)))
    (tmp_path / "utf16.txt").write_text("a cat", encoding="utf-16")
    Image.new("RGB", (16, 16)).save(tmp_path / "plain.png")
    LearnedWord("S*", torch.ones(1, 1280)).save(tmp_path / "other.safetensors")
    code, said, folder = generate("wrong", "debug=tiny", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert code == 1 and not folder.exists(), said
    (sentence,) = re.findall(r"^error: (.*)$", said, flags=re.MULTILINE)
    assert what in sentence and remedy in sentence and "Traceback" not in said
