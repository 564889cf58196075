"""The figures of the paper from the command line, with a model that generates noise: cells, claims, every figure."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

ROOT = Path(__file__).resolve().parents[2]
LEARN = ["debug=tiny", "trainer.max_steps=2"]
EVALUATE = [
    "debug=tiny", "sampler=dpm_solver", "sampler.steps=2", "protocol.samples=2", "protocol.prompt_samples=2",
]  # fmt: skip
TINY = [f"learn={json.dumps(LEARN)}", f"evaluate={json.dumps(EVALUATE)}", "budget.learn=[]", "budget.evaluate=[]"]
TINY += ["budget.samples=2", "budget.candidates=2"]

SETUPS, SUBJECTS = (sorted(p.stem for p in (ROOT / "configs" / kind).glob("*.yaml")) for kind in ("setup", "subject"))

pytestmark = [
    pytest.mark.filterwarnings("ignore:Found .* in eval mode"),
    pytest.mark.filterwarnings("ignore:The .*lr_scheduler.step"),
]


@pytest.fixture
def reproduce(run_script, tmp_path):
    """Return a function that runs the script with its own folders: exit code, output, folder of the figures."""

    def run(*arguments):
        folder = tmp_path / "figures"
        folders = [f"hydra.run.dir={folder}", f"paths.cache={tmp_path}/cache"]
        return *run_script("reproduce", *TINY, *folders, *arguments), folder

    return run


@pytest.fixture
def store(monkeypatch, tmp_path):
    """A store of cells of the tiny model."""
    monkeypatch.chdir(ROOT)
    from launch.reproduction.cells import CellStore

    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        yield CellStore(tmp_path / "cells", LEARN, EVALUATE, ROOT / "assets" / "concepts", pack=2)


def cell(concept="cat_toy", seed=0, learn=(), evaluate=()):
    from launch.reproduction.cells import Cell

    return Cell(concept, seed, learn, evaluate)


def test_a_cell_is_done_once_and_found_again(store, tmp_path):
    cells = [cell("cat_toy"), cell("owl_toy"), cell("cat_toy", learn=None, evaluate=("subject=image_only",))]
    first = store.results(cells)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").rglob("*") if path.is_file()}
    for result in first.values():
        assert (tmp_path / "cells" / "evaluations" / result["config"] / "config.yaml").is_file()
    assert first.keys() == set(cells) and len({result["config"] for result in first.values()}) == 3
    assert store.results(cells) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").rglob("*") if path.is_file()} == files


def test_what_changes_a_word_makes_another_cell_and_what_is_only_shown_does_not(store):
    plain = store.train_config(cell()).paths.run
    assert plain == store.train_config(cell(learn=("callbacks.metrics.every=7",))).paths.run
    changed = [cell(seed=1), cell("owl_toy"), cell(learn=("optim.lr=0.1",)), cell(learn=("setup=plateau",))]
    folders = {plain, *(store.train_config(one).paths.run for one in changed)}
    assert len(folders) == 1 + len(changed)
    assert store.train_config(cell(learn=("setup=one",))).paths.run == plain


def test_a_word_of_a_home_set_is_learned_from_it_and_compared_with_the_varied_set(store):
    at_home = replace(cell(), home=True)
    config, other = store.train_config(at_home), store.train_config(cell())
    assert Path(config.concept.images) == store.pictures / "home" / "cat_toy"
    assert config.paths.run != other.paths.run
    assert store.evaluation_config(at_home) == store.evaluation_config(cell())


def test_the_images_that_no_word_is_learned_from_change_the_evaluation_alone(store):
    unseen = replace(cell(), unseen=True)
    assert store.train_config(unseen) == store.train_config(cell())
    images = Path(store.evaluation_config(unseen).images)
    assert images == store.pictures / "unseen" / "cat_toy" != Path(store.evaluation_config(cell()).images)


def test_setups_of_a_concept_share_their_draws_and_concepts_do_not(store):
    every = [cell(concept, seed) for concept in ("cat_toy", "owl_toy") for seed in (0, 1)]
    assert len({store.train_config(one).concept.seed for one in every}) == 4
    assert len({store.evaluation_config(one).seed for one in every}) == 2
    two = [store.train_config(cell(learn=learn)).concept.seed for learn in ((), ("setup=two",))]
    assert two[0] == two[1]


def test_an_evaluation_is_known_by_what_changes_its_numbers(store):
    from launch.reproduction.hashes import evaluation_hash

    plain = evaluation_hash(store.evaluation_config(cell()), "word")
    assert plain == evaluation_hash(store.evaluation_config(cell(seed=1, evaluate=("batch_size=3",))), "word")
    assert plain != evaluation_hash(store.evaluation_config(cell()), "another")
    for changed in (cell("owl_toy"), *(cell(evaluate=(o,)) for o in ("guidance=2", "first=3", "sampler.steps=3"))):
        assert evaluation_hash(store.evaluation_config(changed), "word") != plain


def test_pictures_and_captions_are_known_by_their_content(store, tmp_path):
    from launch.reproduction.cells import CellStore
    from launch.reproduction.hashes import evaluation_hash

    def hashes(name):
        other = CellStore(tmp_path / "cells", store.learn, store.evaluate, tmp_path / name, pack=2)
        word = Path(other.train_config(cell()).paths.run).name
        return word, evaluation_hash(other.evaluation_config(cell(learn=None)), None)

    for name in ("here (there), ä", "there", "caption", "picture"):
        shutil.copytree(ROOT / "assets" / "concepts" / "cat_toy", tmp_path / name / "cat_toy")
    (tmp_path / "caption" / "cat_toy" / "short.txt").write_text("another cat\n")
    shutil.copy(tmp_path / "picture" / "cat_toy" / "00.webp", tmp_path / "picture" / "cat_toy" / "01.webp")
    word, evaluation = hashes("there")
    assert hashes("here (there), ä") == (word, evaluation)
    assert hashes("caption")[0] == word and hashes("caption")[1] != evaluation
    assert hashes("picture")[0] != word and hashes("picture")[1] != evaluation


def test_a_cell_outlives_the_renaming_and_the_moving_of_code(store):
    from launch.reproduction.hashes import train_hash

    config, before = store.train_config(cell()), store.train_config(cell()).copy()
    assert config.module.ldm._target_ == "ldm.weights.checkpoint.load_weights"
    before.module.ldm._target_ = "ldm.checkpoint.pretrained"
    assert train_hash(before) == train_hash(config)


def test_a_failed_cell_is_written_down_and_the_others_go_on(store, tmp_path):
    good, bad = cell("cat_toy"), cell("cat_toy", learn=("concept.initializer=qqqq",))
    assert store.results([bad, good]).keys() == {good}
    states = [json.loads(file.read_text()) for file in (tmp_path / "cells" / "words").glob("*/cell.json")]
    (failed,) = [state for state in states if state["state"] == "failed"]
    assert "qqqq" in failed["error"] and "Traceback" in failed["traceback"][0]
    assert [folder.name for folder in store.failed] == [Path(store.train_config(bad).paths.run).name]


def test_a_pack_gives_the_words_that_each_learns_alone(store, tmp_path):
    import torch

    from launch.reproduction.cells import CellStore
    from textual_inversion.words.file import load_words

    cells = [cell("cat_toy"), cell("owl_toy")]
    alone = CellStore(tmp_path / "alone", store.learn, store.evaluate, store.pictures, pack=1)
    for one, other in zip(store.words(cells).values(), alone.words(cells).values(), strict=True):
        (a,), (b,) = load_words(one), load_words(other)
        torch.testing.assert_close(a.vectors, b.vectors, atol=1e-5, rtol=1e-4)


@pytest.mark.integration
def test_a_figure_leaves_pictures_numbers_and_verdicts(reproduce):
    two_seeds = ["budget.concepts=[cat_toy]", "figures.set_size.seeds=[0,1]"]
    code, said, folder = reproduce("figure=set_size", *two_seeds)
    assert code == 0, said
    table = pd.read_csv(folder / "set_size.csv")
    assert [*table["row"]] == 2 * ["1 picture", *(f"{n} pictures" for n in (2, 3, 5, 10, 25))]
    assert [*table["seed"]] == 6 * [0] + 6 * [1]
    assert table[["commit", "config", "image_similarity"]].notna().all(axis=None)
    assert (folder / "set_size.png").stat().st_size and (folder / "set_size.pdf").stat().st_size
    claims = json.loads((folder / "set_size.claims.json").read_text())
    assert len(claims) == 4 and all(claim["verdict"] == "not tested" for claim in claims)  # with a single concept
    assert all(claim["claim"] in (folder / "claims.md").read_text() for claim in claims)


@pytest.mark.integration
def test_every_figure(reproduce):
    code, said, folder = reproduce("figure=all", "budget.concepts=[cat_toy]")
    assert code == 0, said
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        names = list(compose("reproduce", ["figure=all", "paths.run=x"]).figures)
    assert len(names) == 11
    for name in names:
        drawn = {path.suffix for path in folder.glob(f"{name}.*")} - {".csv", ".json"}
        assert drawn in ({".png", ".pdf"}, {".jpg"}) and (folder / f"{name}.csv").is_file()
    seconds = pd.read_csv(folder / "beyond.csv").set_index("row")["seconds"]
    assert (seconds.dropna() > 0).all() and {*seconds.index[seconds.isna()]} == {"image only", "prompt only"}


@pytest.mark.integration
def test_without_a_classifier_pictures_are_generated_and_nothing_is_counted(reproduce):
    blind = f"evaluate={json.dumps([*EVALUATE, 'protocol.classifier=null'])}"
    code, said, folder = reproduce("figure=[style,composition,bias]", blind, "budget.concepts=[cat_toy]")
    assert code == 0, said
    for name in ("style", "composition", "bias"):
        assert (folder / f"{name}.jpg").is_file()
    for name in ("composition", "bias"):
        claims = json.loads((folder / f"{name}.claims.json").read_text())
        assert claims and all(claim["verdict"] == "not tested" for claim in claims)


@pytest.mark.integration
def test_what_fails_is_said_at_the_end_and_the_other_figures_are_drawn(reproduce):
    broken = [f"learn={json.dumps([*LEARN, 'concept.initializer=qqqq'])}", "budget.concepts=[cat_toy]"]
    code, said, folder = reproduce("figure=[variations,set_size]", *broken)
    assert code == 1 and "no variations, set_size and 6 cells failed: see above" in said
    assert not list(folder.glob("*.csv"))


@pytest.mark.integration
def test_too_few_pictures_and_another_scales_budget_are_said_before_anything_is_learned(reproduce, tmp_path):
    code, said, _ = reproduce("figure=set_size", f"images={ROOT}/assets/concepts", "budget.concepts=[cat_toy]")
    assert code == 1 and "set_size: " in said and "5 pictures" in said and not (tmp_path / "cache" / "cells").exists()
    code, said, _ = reproduce("figure=set_size", "budget.scales=[ldm_1p4b]")
    assert code == 1 and "budget=quick is for ldm_1p4b, not for toyland" in said


@pytest.mark.integration
def test_figures_of_another_protocol_are_not_mixed(reproduce):
    nobody = ["figure=blended", "budget.concepts=[nobody]"]
    code, said, _ = reproduce(*nobody)
    assert (
        code == 1
        and "no blended: see above" in said
        and "there is no concept=nobody" in said
        and "Traceback" not in said
    )
    code, said, folder = reproduce(*nobody, "budget.seeds=[7]")
    assert code == 1 and f"{folder} holds results of another protocol (budget.seeds.0 was 0, is 7). Keep them" in said


def test_settings_that_nothing_would_read_are_refused(reproduce):
    code, said, folder = reproduce("figure=blended", "trainer.max_steps=9")
    assert code == 1 and "trainer.max_steps=9 would have no effect" in said and "learn=" in said
    assert not (folder / "protocol.json").exists()


def test_an_unknown_figure_gets_the_list_of_known_ones(reproduce):
    code, said, _ = reproduce("figure=figure_10")
    assert code == 1 and "there is no figure 'figure_10'" in said and "distortion_editability" in said


def test_an_unknown_setup_gets_the_list_of_known_ones(run_script, monkeypatch):
    code, said = run_script("train", "experiment=cat_toy", "setup=fourwords")
    assert code != 0 and "fourwords" in said and "progressive" in said


def test_an_unknown_setup_of_all_words_gets_that_list_too(store):
    with pytest.raises(ValueError, match=r"there is no setup=fourwords.*progressive"):
        store.train_config(cell(learn=("setup=fourwords",)))


@pytest.mark.integration
def test_all_pictures_and_the_first_ones_are_compared_with_in_one_go(store):
    cells = [cell(learn=None, evaluate=("subject=image_only", f"first={first}")) for first in ("null", 5, 3)]
    assert len({result["config"] for result in store.results(cells).values()}) == 3


@pytest.mark.integration
def test_every_setup_learns_another_word(store):
    import torch

    from textual_inversion.words.file import load_words

    far = "rates.base=1.0"  # so that in two steps a limit to the vectors shows as well
    cells = {name: cell(learn=(f"setup={name}", far)) for name in SETUPS}
    folders = store.words([*cells.values()])
    assert folders.keys() == set(cells.values()), store.failed
    assert len(set(folders.values())) == len(SETUPS)
    words = {name: load_words(folders[one])[0].vectors for name, one in cells.items()}
    plain = words.pop("one")
    alike = [name for name, word in words.items() if word.shape == plain.shape and torch.allclose(word, plain, 0, 1e-5)]
    assert alike == ["plateau"]  # which only stops earlier


@pytest.mark.integration
def test_every_subject_is_evaluated_as_another(store):
    steps = {"pivotal": ("subject.steps=2",), "bipartite": ("sampler=ddim", "sampler.steps=2")}
    results = store.results([cell(evaluate=(f"subject={name}", *steps.get(name, ()))) for name in SUBJECTS])
    assert len({result["image_similarity"] for result in results.values()}) == len(SUBJECTS) > 5
    assert all(-1 <= result["image_similarity"] <= 1 for result in results.values())
