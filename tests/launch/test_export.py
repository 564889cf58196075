"""`scripts/export.py` writes a pipeline folder, which diffusers can read (see test_diffusers_layout.py)."""

import json

TINY = ["scale=toyland", "debug=tiny"]


def test_a_model_becomes_a_folder_once(run_script, tmp_path):
    arguments = [*TINY, "+module.ldm.module.max_length=77", f"folder={tmp_path / 'new'}"]
    code, said = run_script("export", *arguments, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 0, said
    index = json.loads((tmp_path / "new" / "model_index.json").read_text())
    assert index["_class_name"] == "LDMTextToImagePipeline"
    assert {place.name for place in (tmp_path / "new").iterdir() if place.is_dir()} <= set(index)
    code, said = run_script("export", *arguments, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 1 and "already exists" in said


def test_the_shipped_model_is_exported_with_its_pipeline(run_script, tmp_path):
    code, said = run_script(
        "export", "scale=toyland", f"folder={tmp_path / 'new'}", f"hydra.run.dir={tmp_path / 'run'}"
    )
    assert code == 0 and "load it as the first lines of pipeline.py say" in said, said
    config = json.loads((tmp_path / "new" / "bert" / "config.json").read_text())
    assert config["max_position_embeddings"] == 36 and (tmp_path / "new" / "tokenizer" / "vocab.txt").is_file()


def test_missing_weights_are_named_before_the_model_is_built(run_script, tmp_path):
    code, said = run_script("export", "scale=paper", f"folder={tmp_path / 'new'}", f"paths.models={tmp_path}")
    assert code == 1 and "no weights at" in said and "scripts/fetch.py" in said
    assert "module.ldm.weights=<file or folder>" in said
