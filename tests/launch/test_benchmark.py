"""`scripts/benchmark.py` records its measurements and the hardware; docs/performance.md agrees with the records."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from launch.benchmarks.random_models import outputs
from ldm import models
from ldm.modules.clip_text import CLIPTextEncoder
from ldm.precision import fast_precisions

ROOT = Path(__file__).resolve().parents[2]
SIZES = ("pictures", "batch", "vectors", "concepts", "steps")


def measure(folder: Path, *settings: str) -> dict[str, dict[str, float]]:
    command = [sys.executable, "scripts/benchmark.py", *settings, f"hydra.run.dir={folder}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    record = json.loads((folder / "results.json").read_text())
    assert set(record) == {"case", "settings", "hardware", "results"} and record["hardware"]["cores"] > 0
    return record["results"]


@pytest.mark.integration
def test_loading_is_measured_and_recorded(tmp_path):
    """A second copy, or the model in float32 beside a file in half precision, would be 0.5 GB beyond the file."""
    for result in measure(tmp_path, "case=loading", "case.gigabytes=0.5").values():
        assert -0.1e9 < result["beyond"] < 0.3e9
    assert not list(tmp_path.glob("model.*"))


@pytest.mark.integration
def test_inversion_is_measured_against_diffusers(tmp_path):
    contenders = ["~case.contenders", "+case.contenders={two: {concepts: 2}}"]
    results = measure(tmp_path, "case=inversion", *contenders, "case.rounds=1", "case.steps=1")
    assert set(results) == {"diffusers", "two", "machine", *(["diffusers_autocast"] if HALF else [])}
    two, theirs = results["two"], results["diffusers"]
    assert two["ms_a_step"] == 2 * two["ms_a_concept_step"] > 0
    assert two["times_faster_than_diffusers"] == theirs["ms_a_concept_step"] / two["ms_a_concept_step"]
    assert 0 < two["share_of_floor"] == pytest.approx(two["floor_ms"] / two["ms_a_concept_step"])


@pytest.mark.integration
def test_growth_is_measured(tmp_path):
    sizes = [f"case.sizes.{what}=[{n}]" for what, n in zip(SIZES, (3, 2, 2, 2, 1), strict=True)]
    results = measure(tmp_path, "case=growth", *sizes, "case.rounds=1", "case.steps=1")
    assert [(*by,) for by in results.values()] == [("3",), ("2",), ("2",), ("2",), ("1",)]
    assert all(value > 0 for by in results.values() for value in by.values())


@pytest.mark.integration
def test_memory_is_measured_against_diffusers(tmp_path):
    results = measure(tmp_path, "case=memory", "case.packs=[1]", "case.rounds=1")
    assert set(results) == {"diffusers", "pack of 1"}
    assert all(result["peak"] > result["loaded"] > 1e8 for result in results.values())


@pytest.mark.integration
def test_a_users_waiting_is_measured(tmp_path):
    results = measure(tmp_path, "case=startup", 'case.arguments=["experiment=cat_toy","debug=tiny"]', "case.rounds=1")
    assert 0 < results["help"]["seconds"] < results["first step"]["seconds"]
    assert (tmp_path / "1" / "contact_sheet.png").is_file()


@pytest.mark.integration
def test_sampling_is_measured_against_diffusers(tmp_path):
    results = measure(tmp_path, "case=sampling", "case.pictures=1", "case.steps=2", "case.rounds=1")
    rows = ("diffusers", "ddim, 2 steps", "dpm_solver, 15 steps")
    assert set(results) == {*rows, *(f"{row}, bfloat16" for row in rows if HALF)}
    assert all(result["seconds"] > 0 for result in results.values())


@pytest.mark.integration
def test_a_training_is_watched_from_outside(tmp_path):
    results = measure(tmp_path, "case=steady", "case.steps=60", "case.parts=3", "case.seconds=0.1")
    assert list(results) == ["to step 20", "to step 40", "to step 60"]
    require_steady(results, memory=1.05)
    assert all(part["processor ms of a step"] > 0 and part["ms of a step"] > 0 for part in results.values())


def require_steady(parts, memory):
    """The last part of a training takes no more than the first did."""
    first, *_, last = parts.values()
    assert last["memory"] < memory * first["memory"] and last["open files"] <= first["open files"]


def test_the_training_on_record_did_not_grow():
    record = json.loads((ROOT / "assets" / "benchmarks" / "steady.json").read_text(encoding="utf-8"))
    assert record["settings"]["steps"] == 20_000 and len(record["results"]) == 10
    require_steady(record["results"], memory=1.01)
    first, *_, last = (part["processor ms of a step"] for part in record["results"].values())
    assert last < 1.1 * first


@pytest.mark.parametrize("case", sorted(path.stem for path in (ROOT / "configs" / "case").glob("*.yaml")))
def test_every_benchmark_is_on_record(case):
    record = json.loads((ROOT / "assets" / "benchmarks" / f"{case}.json").read_text(encoding="utf-8"))
    assert record["case"] == case and record["results"] and record["hardware"]["torch"]


def assert_row(page, row, theirs, ours):
    """Assert that a row of the page compares these times of a step."""
    ratio = ours["times_faster_than_diffusers"]
    assert f"{row} | {theirs['ms_a_step']:.0f} | {ours['ms_a_concept_step']:.0f} | {ratio:.1f} |" in page


def test_the_documentation_says_what_the_benchmarks_measured():
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")

    def measured(case):
        return json.loads((ROOT / "assets" / "benchmarks" / f"{case}.json").read_text(encoding="utf-8"))["results"]

    inversion, sampling, memory = measured("inversion"), measured("sampling"), measured("memory")
    rows = {"alone": "alone", "pack_of_4": "pack of 4", "pack_of_8": "8", "pack_of_16": "16"}
    for name, row in rows.items():
        assert_row(page, row, inversion["diffusers"], inversion[name])
    for name, row in {"bf16": "alone", "bf16_pack_of_8": "pack of 8", "bf16_pack_of_16": "16"}.items():
        assert_row(page, row, inversion["diffusers_autocast"], inversion[name])
    for kind in ("", ", bfloat16"):
        theirs = sampling["diffusers" + kind]["seconds"]
        for name in ("ddim, 50 steps", "dpm_solver, 15 steps"):
            ours = sampling[name + kind]
            ratio = ours["times_faster_than_diffusers"]
            assert f"| {theirs:.1f} | {ours['seconds']:.1f} | {ratio:.1f} |" in page
    assert f"| {memory['diffusers']['peak'] / 1e6:.0f} | {memory['pack of 1']['peak'] / 1e6:.0f} |" in page
    assert (
        "to the contact sheet of `experiment=cat_toy`, in float32 | | "
        f"{measured('startup')['contact sheet']['seconds']:.0f} |" in page
    )


def test_the_documentation_says_what_was_measured_without_units_for_bfloat16():
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    files = (ROOT / "assets" / "benchmarks" / "avx2").glob("*.json")
    found = {file.stem: json.loads(file.read_text(encoding="utf-8"))["results"] for file in files}
    inversion, theirs = found["inversion"], found["sampling"]["diffusers"]["seconds"]
    for name, row in {"alone": "alone", "pack_of_4": "pack of 4", "pack_of_8": "8", "pack_of_16": "16"}.items():
        assert_row(page, row, inversion["diffusers"], inversion[name])
    for name in ("ddim, 50 steps", "dpm_solver, 15 steps"):
        ours = found["sampling"][name]
        assert f"| {theirs:.1f} | {ours['seconds']:.1f} | {ours['times_faster_than_diffusers']:.1f} |" in page
    assert f"of `experiment=cat_toy` | | {found['startup']['contact sheet']['seconds']:.0f} |" in page
    shares = [inversion[name]["share_of_floor"] for name in ("alone", "pack_of_16")]
    assert f"reaches {shares[0]:.0%} of that speed, a pack of 16 reaches {shares[1]:.0%}" in page


def stable_diffusion(vocabulary):
    """A miniature of Stable Diffusion: the tiny model with an encoder of CLIP's kind."""
    ldm = models.tiny(vocabulary)
    ldm.cond_stage_model = CLIPTextEncoder(vocabulary, 3000, 16, depth=1, heads=2, inner=32, max_length=77)
    return ldm


HALF = torch.bfloat16 in fast_precisions()  # rows in bfloat16 are left out on CPUs that emulate it
FAST = ["+debug=tiny", "case.steps=1", "case.pictures=1", "case.sampling_steps=2", "case.packs=[]", "case.batches=[]"]
OTHER = f"case.stable_diffusion.module.ldm.module._target_={__name__}.stable_diffusion"
FAST += ["case.stable_diffusion.image_size=16", OTHER]
MATRICES = ["machine", "model"]
UNMEASURED = ["ours, whole loop", "ours, whole loop, pack of 4", "ours, whole loop, pack of 16", "ours, sampling"]
UNMEASURED += ["diffusers under autocast, sampling", "errors in float32", "ours, checkpointing"]
UNMEASURED += ["Stable Diffusion 1, whole loop", "Stable Diffusion 1, sampling"]
MEASURED = ["diffusers under autocast", "ours, plain", "diffusers", "diffusers, sampling", "ours, batch 1"]


def true_scale(run_script, folder, *settings):
    """Return the rows of case=true_scale with miniature models."""
    code, said = run_script("benchmark", "case=true_scale", *FAST, *settings, f"hydra.run.dir={folder}")
    assert code == 0, said
    return json.loads((folder / "results.json").read_text())["results"]


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Found .* in eval mode")
def test_every_row_of_the_published_sizes_can_be_measured(run_script, tmp_path):
    """All rows but those of a CUDA graph, in an order that lets a short loan of a GPU measure what is on no record."""
    tiny = OmegaConf.create({"_target_": "ldm.models.tiny", "vocabulary": ""})
    save_file(outputs(tiny, "cpu"), tmp_path / "golden.safetensors")
    every = ["case.batches=[1]", "case.packs=[4,16]", f"case.golden={tmp_path / 'golden.safetensors'}"]
    results = true_scale(run_script, tmp_path / "run", *every)
    assert not [row for row in results.values() if "error" in row or "skipped" in row]
    every = [*MATRICES, *UNMEASURED, *MEASURED]
    assert list(results) == [name for name in every if HALF or "autocast" not in name]
    assert results["ours, whole loop, pack of 4"]["ms_a_concept"] * 4 == results["ours, whole loop, pack of 4"]["ms"]
    assert all(error < 1e-5 for error in results["errors in float32"].values())


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Found .* in eval mode")
def test_what_has_no_time_left_is_skipped_and_what_fails_does_not_stop_the_others(run_script, tmp_path):
    results = true_scale(run_script, tmp_path / "a", "case.sampling_steps=5000")
    assert "5000 sampling steps" in results["ours, sampling"]["error"] and results["diffusers"]["ms"] > 0
    skipped = true_scale(run_script, tmp_path / "b", "case.minutes=1e-9")
    assert set(map(str, skipped.values())) == {"{'skipped': 'no time was left'}"}
