"""Words are written in and read from the formats of other tools, regardless of file names."""

import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from textual_inversion.words.file import LearnedWord, load_words, save_words
from textual_inversion.words.formats import a1111, diffusers, official

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


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("form", ["ours", "diffusers", "a1111"])
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
        path = tmp_path / ("word.pt" if form == "a1111" else "word.safetensors")
        if form == "ours":
            save_words(path, [LearnedWord("<cat-toy>", value, {"steps": 500})])
        else:
            content = a1111("<cat-toy>", value, {}) if form == "a1111" else diffusers("<cat-toy>", value)
            path.write_bytes(content)
        pipeline = Pipeline()
        pipeline.load_textual_inversion(str(path.parent), weight_name=path.name, local_files_only=True)
    names = ["<cat-toy>", *(f"<cat-toy>_{i}" for i in range(1, k))]
    ids = pipeline.tokenizer.convert_tokens_to_ids(names)
    assert torch.equal(pipeline.text_encoder.get_input_embeddings().weight[ids].detach(), value)
