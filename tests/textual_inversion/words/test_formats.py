"""Words are written in and read from the formats of other tools, regardless of file names."""

import pickletools
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from ldm.errors import UserError
from textual_inversion.words.file import LearnedWord, load_words, save_words
from textual_inversion.words.formats import a1111, diffusers, diffusers_bin, official

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "embeddings"
SHAPES = pytest.mark.parametrize("shape", [(768,), (1, 768), (3, 768), (1, 1024), (1280,), (3, 1280)])
SUFFIXES = pytest.mark.parametrize("name", ["cat.pt", "cat.bin", "cat.safetensors", "cat.PT", "cat"])


def vectors(shape) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def tensor_file(content: dict, path: Path) -> None:
    torch.save(content, path)


def old_tensor_file(content: dict, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("name", ["embeddings.pt", "embeddings_old_torch_emulated.pt"])
def test_official_files_of_old_and_new_torch(name):
    expected = load_file(GOLDEN / "expected.safetensors")
    words = {word.placeholder: word for word in load_words(GOLDEN / name)}
    assert set(words) == {"*", "@"}
    for placeholder, word in words.items():
        (key,) = [key for key in expected if key.endswith(placeholder) and expected[key].ndim == 2]
        assert torch.equal(word.vectors, expected[key])
        assert word.provenance["format"] == "official" and isinstance(word.provenance["token"], int)


@SHAPES
@SUFFIXES
@pytest.mark.parametrize("save", [save_file, tensor_file, old_tensor_file])
def test_diffusers_files(tmp_path, shape, name, save):
    value = vectors(shape)
    save({"<cat-toy>": value}, tmp_path / name)
    (word,) = load_words(tmp_path / name)
    assert word.placeholder == "<cat-toy>" and torch.equal(word.vectors, value.view(-1, shape[-1]))


@SHAPES
@pytest.mark.parametrize("parameters", [dict, nn.ParameterDict])
@pytest.mark.parametrize("save", [tensor_file, old_tensor_file])
def test_files_of_the_web_ui(tmp_path, shape, parameters, save):
    value = vectors(shape)
    content = {"string_to_token": {"*": 265}, "string_to_param": parameters({"*": value}), "name": "my cat", "step": 99}
    save(content, tmp_path / "cat.pt")
    (word,) = load_words(tmp_path / "cat.pt")
    assert word.placeholder == "my cat" and word.provenance["step"] == 99
    assert torch.equal(word.vectors, value.view(-1, shape[-1]))


def test_a_file_without_a_name_inside_is_called_as_the_file_is(tmp_path):
    save_file({"emb_params": vectors((2, 768))}, tmp_path / "my-cat.safetensors")
    (word,) = load_words(tmp_path / "my-cat.safetensors")
    assert word.placeholder == "my-cat" and word.vectors.shape == (2, 768)


@pytest.mark.parametrize("width", [768, 1280])
@pytest.mark.parametrize("k", [1, 3])
def test_what_is_written_for_other_tools_is_read_back(tmp_path, width, k):
    value = vectors((k, width))
    files = {
        "*": official({"*": (value, {})}),
        "my cat": a1111("my cat", value, {"steps": 500}),
        "<cat-toy>": diffusers("<cat-toy>", value),
    }
    for placeholder, content in files.items():
        (tmp_path / "word").write_bytes(content)
        (word,) = load_words(tmp_path / "word")
        assert word.placeholder == placeholder and torch.equal(word.vectors, value)


def test_official_files_hold_what_the_official_code_reads(tmp_path):
    value = vectors((1, 1280))
    (tmp_path / "embeddings.pt").write_bytes(official({"*": (value, {}), "@": (value, {"token": 1030})}))
    content = torch.load(tmp_path / "embeddings.pt", weights_only=False)
    assert isinstance(content["string_to_param"], nn.ParameterDict)
    assert torch.equal(content["string_to_param"]["*"].detach(), value)
    assert {name: int(token) for name, token in content["string_to_token"].items()} == {"*": 1008, "@": 1030}


# The rule of the web UI's loader (AUTOMATIC1111, modules/safe.py): the records that the archive of a .pt file may have,
# and the names that its pickle may ask for.
WEB_UI_RECORDS = re.compile(r"[^/]+/(data/\d+|version|data\.pkl)")
WEB_UI_NAMES = {
    "collections": {"OrderedDict"},
    "torch._utils": {"_rebuild_tensor_v2", "_rebuild_parameter"},
    "torch": {f"{kind}Storage" for kind in ("Float", "Half", "Int", "Long", "Double", "Byte", "BFloat16")}
    | {"float32"},
    "torch.nn.modules.container": {"ParameterDict"},
    "numpy.core.multiarray": {"scalar", "_reconstruct"},
    "numpy": {"dtype", "ndarray"},
    "_codecs": {"encode"},
    "__builtin__": {"set"},
}


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("form", ["a1111", "official", "diffusers_bin"])
def test_the_web_ui_permits_what_is_written(tmp_path, k, form):
    value = vectors((k, 768))
    contents = {
        "a1111": a1111("cat", value, {"steps": 500}),
        "official": official({"*": (value, {})}),
        "diffusers_bin": diffusers_bin("<cat-toy>", value),
    }
    (tmp_path / "word.pt").write_bytes(contents[form])
    with zipfile.ZipFile(tmp_path / "word.pt") as archive:
        assert all(map(WEB_UI_RECORDS.fullmatch, archive.namelist())) and archive.testzip() is None
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        program = archive.read(pickled)
    asked = [argument.split(" ") for opcode, argument, _ in pickletools.genops(program) if opcode.name == "GLOBAL"]
    assert asked and all(name in WEB_UI_NAMES.get(module, ()) for module, name in asked)
    assert not {opcode.name for opcode, *_ in pickletools.genops(program)} & {"STACK_GLOBAL", "INST", "OBJ"}
    theirs = torch.load(tmp_path / "word.pt", weights_only=form != "official")
    found = theirs["<cat-toy>"] if form == "diffusers_bin" else theirs["string_to_param"]["*"].detach()
    assert torch.equal(found.view(k, 768), value)


def test_the_official_format_needs_the_number_of_the_token():
    with pytest.raises(ValueError, match=r"the token id of '<cat-toy>' .* rename the word to '\*'"):
        official({"<cat-toy>": (vectors((1, 1280)), {})})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "it holds no learned words"),
        ([torch.ones(3)], "holds no learned words but list"),
        ({"string_to_param": {}}, "no vectors"),
        ({"string_to_param": nn.ParameterDict()}, "no vectors"),
        ({"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 1280)}, "Stable Diffusion XL"),
        ({"a": torch.ones(1, 2, 3)}, r"'a' is \[1, 2, 3\], not the vectors"),
        ({"a": torch.ones(2).long()}, r"'a' is \[2\], not the vectors"),
        ({"a": "text"}, r"only \['a'\]"),
        ({"a": torch.tensor([[1.0, torch.nan]])}, "1 of the 2 numbers of 'a'"),
    ],
)
def test_files_without_words_are_refused(tmp_path, content, sentence):
    torch.save(content, tmp_path / "word.pt")
    with pytest.raises(ValueError, match=rf"word\.pt is unusable: .*{sentence}"):
        load_words(tmp_path / "word.pt")


NAMED = {"text_model.embeddings.position_embedding.weight": 77, "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha": 1}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({name: torch.ones(rows, 768) for name, rows in NAMED.items()}, "a part of a network, such as"),
        ({"weight": torch.ones(2, 768)}, "a part of a network, such as 'weight'"),
        ({"table": torch.ones(49408, 768)}, "no word has so many vectors"),
        ({"a": torch.ones(1, 768), "b": torch.ones(1, 1280)}, "different widths"),
        ({f"IN0{i}": torch.ones(1, 768) for i in range(3)} | {"MID": torch.ones(1, 768)}, "extended textual inversion"),
        ({"clip_l": torch.ones(1, 768), "t5xxl": torch.ones(1, 4096)}, "a word of FLUX"),
        (
            {"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 1280), "t5xxl": torch.ones(1, 9)},
            "Stable Diffusion 3",
        ),
        ({"clip_g": torch.ones(1, 1280)}, "a word of Stable Diffusion XL"),
        ({"text_encoders_0": torch.ones(1, 768), "text_encoders_1": torch.ones(1, 1280)}, "Stable Diffusion XL"),
    ],
)
def test_pieces_of_networks_and_words_of_other_models_are_named(tmp_path, content, sentence):
    save_file(content, tmp_path / "word.safetensors")
    with pytest.raises(UserError, match=rf"word\.safetensors is unusable: .*{sentence}"):
        load_words(tmp_path / "word.safetensors")


def test_a_word_of_clip_alone_is_read_and_called_as_its_file(tmp_path):
    save_file({"clip_l": torch.ones(2, 768)}, tmp_path / "cat.safetensors")
    (word,) = load_words(tmp_path / "cat.safetensors")
    assert (word.placeholder, word.provenance, word.vectors.shape) == ("cat", {"format": "clip_l"}, (2, 768))


@pytest.mark.parametrize("step", [torch.tensor(5000), np.int64(5000), np.float32(3), None, [1], {"a": 1}])
@pytest.mark.parametrize("name", ["my cat", None, 3, "", torch.ones(2)])
def test_notes_of_the_web_ui_may_be_of_any_type(tmp_path, step, name):
    value = vectors((1, 768))
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": value}, "name": name, "step": step}
    torch.save(content, tmp_path / "cat.pt")
    (word,) = load_words(tmp_path / "cat.pt")
    assert word.placeholder == ("my cat" if name == "my cat" else "cat") and torch.equal(word.vectors, value)
    assert word.provenance == {"format": "A1111"} | ({"step": 5000} if isinstance(step, torch.Tensor) else {})


@pytest.mark.parametrize("name", ["learned_embeds.safetensors", "learned_embeds.bin", "learned_embeds.pt"])
def test_the_word_in_a_published_concepts_folder_is_found(tmp_path, name):
    save = save_file if name.endswith("safetensors") else torch.save
    save({"<cat-toy>": vectors((768,))}, tmp_path / name)
    (tmp_path / "token_identifier.txt").write_text("<cat-toy>")
    (word,) = load_words(tmp_path)
    assert word.placeholder == "<cat-toy>" and torch.equal(word.vectors[0], vectors((768,)))


@pytest.mark.parametrize(
    ("form", "warns"), [("diffusers", True), ("a1111", True), ("official", False), ("ours", False)]
)
def test_a_word_as_wide_as_those_of_stable_diffusion_xl_may_be_one(tmp_path, caplog, form, warns):
    value, path = vectors((1, 1280)), tmp_path / "word.pt"
    content = {
        "diffusers": diffusers("*", value),
        "a1111": a1111("*", value, {}),
        "official": official({"*": (value, {})}),
    }
    save_words(path, [LearnedWord("*", value)]) if form == "ours" else path.write_bytes(content[form])
    (word,) = load_words(path)
    assert ("may be for Stable Diffusion XL" in caplog.text) == warns == ("XL" in word.learned_for)


def test_a_picture_with_a_word_in_it_is_named(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "cat.png")
    with pytest.raises(UserError, match=r"cat\.png is a picture\. If it is a word that the web UI has put into"):
        load_words(tmp_path / "cat.png")


@pytest.mark.parametrize("words", ["", "[]", "{}", '{"S*": 3}', '{"S*": {"a": NaN}}', "[" * 100_000, '{"T*": {}}'])
def test_our_own_file_with_broken_metadata_is_refused(tmp_path, words):
    metadata = {"format": "textual_inversion", "format_version": "1", "words": words}
    save_file({"S*": vectors((1, 768))}, tmp_path / "word.safetensors", metadata)
    with pytest.raises(UserError, match=r"is unusable: (its metadata do not say|the vectors of 'T\*' are missing)"):
        load_words(tmp_path / "word.safetensors")


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("form", ["ours", "diffusers", "diffusers_bin", "a1111"])
def test_diffusers_own_loader_reads_what_is_written(tmp_path, clip_vocabulary, k, form):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers warns about its own code
        from diffusers.loaders import TextualInversionLoaderMixin
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

        class Pipeline(TextualInversionLoaderMixin):
            """The parts of a pipeline that the loader needs."""

            components, hf_device_map = {}, None

            def __init__(self) -> None:
                self.tokenizer = CLIPTokenizer.from_pretrained(str(clip_vocabulary))
                sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
                self.text_encoder = CLIPTextModel(CLIPTextConfig(vocab_size=len(self.tokenizer), **sizes))

        value = vectors((k, 16))
        path = tmp_path / {"a1111": "word.pt", "diffusers_bin": "learned_embeds.bin"}.get(form, "word.safetensors")
        if form == "ours":
            save_words(path, [LearnedWord("<cat-toy>", value, {"steps": 500})])
        else:
            content = a1111("<cat-toy>", value, {}) if form == "a1111" else diffusers("<cat-toy>", value)
            content = diffusers_bin("<cat-toy>", value) if form == "diffusers_bin" else content
            path.write_bytes(content)
        pipeline = Pipeline()
        pipeline.load_textual_inversion(str(path.parent), weight_name=path.name, local_files_only=True)
    names = ["<cat-toy>", *(f"<cat-toy>_{i}" for i in range(1, k))]
    ids = pipeline.tokenizer.convert_tokens_to_ids(names)
    assert torch.equal(pipeline.text_encoder.get_input_embeddings().weight[ids].detach(), value)
