"""`scripts/export.py`: a model as a pipeline's folder, which diffusers reads (test_diffusers_layout.py)."""

import json

TINY = ["scale=toyland", "debug=tiny"]


def test_a_model_becomes_a_folder_once(run_script, tmp_path):
    arguments = [*TINY, "module.ldm.module.text_encoder.max_length=77", f"folder={tmp_path / 'new'}"]
    code, said = run_script("export", *arguments, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 0, said
    index = json.loads((tmp_path / "new" / "model_index.json").read_text())
    assert index["_class_name"] == "LDMTextToImagePipeline"
    assert {place.name for place in (tmp_path / "new").iterdir() if place.is_dir()} <= set(index)
    code, said = run_script("export", *arguments, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 1 and "is there already" in said


def test_a_model_that_no_pipeline_can_run_is_refused(run_script, tmp_path):
    code, said = run_script("export", *TINY, f"folder={tmp_path / 'new'}", f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 1 and "77 tokens" in said and not (tmp_path / "new").exists()


def test_missing_weights_are_named_before_the_model_is_built(run_script, tmp_path):
    code, said = run_script("export", "scale=paper", f"folder={tmp_path / 'new'}", f"paths.models={tmp_path}")
    assert code == 1 and "no weights at" in said and "scripts/fetch.py" in said
    assert "module.ldm.weights=<file or folder>" in said
