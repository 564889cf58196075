"""A setting or choice that does not exist ends in one or two sentences that name the nearest."""

import pytest

CAT = "experiment=cat_toy"


@pytest.mark.parametrize(
    ("command", "arguments", "what", "remedy"),
    [
        ("train", ["experiment=cat_tot"], "there is no experiment=cat_tot", "Did you mean experiment=cat_toy?"),
        ("train", ["experment=cat_toy"], "there is no setting experment", "Did you mean experiment?"),
        ("train", [CAT, "concept=oul_toy"], "there is no concept=oul_toy", "Did you mean concept=owl_toy"),
        ("train", [CAT, "scale=toylnd"], "there is no scale=toylnd", "Did you mean scale=toyland?"),
        ("train", [CAT, "embedding=four"], "there is no embedding=four", "Choose embedding=single, three, two."),
        ("train", [CAT, "concept.image=x"], "no setting concept.image", "Did you mean concept.images?"),
        ("train", [CAT, "lr=0.1"], "no setting lr", "Did you mean optim.lr?"),
        ("train", [CAT, "optim.rl=0.1"], "no setting optim.rl", "optim.lr"),
        ("train", [CAT, "seed.x=0.1"], "no setting seed.x", "seed is a single value"),
        ("train", [CAT, "optim.lr=[0.1"], "'optim.lr=[0.1' cannot be parsed", "optim.lr='[0.1'"),
        ("train", [CAT, "sampler=plms"], "sampler is ambiguous", "Choose one of sampler@callbacks.previews.sampler"),
        ("train", ["cat_toy"], "'cat_toy' is not a setting", "name=value"),
        ("train", [CAT, "seed=1,2"], "seed=1,2 gives several values", "add --multirun"),
        ("generate", ["promt=a cat"], "no setting promt", "Did you mean prompt"),
        ("generate", ["concept=cat_toy"], "no choice called concept", "--help"),
        ("benchmark", [], "case has no value", "Choose case=growth, inversion"),
        ("export", ["folder=x"], "scale has no value", "Choose scale=ldm_1p4b"),
        ("fetch", ["model=ldm_1p4"], "there is no model=ldm_1p4", "model=ldm_1p4b"),
        ("reproduce", ["figure=synthesis", "budget=quik"], "there is no budget=quik", "budget=quick"),
    ],
)
def test_it_is_named_with_what_is_nearest(run_script, tmp_path, command, arguments, what, remedy):
    code, said = run_script(command, *arguments, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 1 and "Traceback" not in said
    (line,) = said.splitlines()
    assert line.startswith("error: ") and what in line and remedy in line
    assert not (tmp_path / "run").exists()
