"""The file formats of other tools for learned words: the official code of the paper, the AUTOMATIC1111 web UI,
diffusers. The format is detected from the content. The name of the file is used only if the content has no name for the
word."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ldm.errors import UserError
from ldm.weights.file_kind import file_kind
from ldm.weights.pickled import load_pickled
from ldm.weights.plain_values import Skipped

Origin = dict[str, Any]
Vectors = Tensor  # [k, width]

# The official code finds its placeholder by a token id, which the file must contain. These are the ids of "*" in the
# vocabularies of the two models (bert-base-uncased, CLIP). A1111 files also contain "*", but use the entry "name".
STAR = "*"
STAR_TOKEN = {1280: 1008, 768: 265}


def words_of_other_tools(path: Path) -> dict[str, tuple[Vectors, Origin]]:
    """Read the words of a file: placeholder -> vectors and their origin. Raises UserError if it holds no words."""
    content = load_file(path) if file_kind(path) == "safetensors" else load_pickled(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds no learned words but {type(content).__name__}")
    if "string_to_param" in content:
        return _string_to_param(path, content)
    if {"clip_l", "clip_g"} & content.keys():
        raise UserError(f"{path} holds a word of Stable Diffusion XL, which is not supported")
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors or len(tensors) < len(content):
        raise UserError(f"{path} holds no learned words, only {sorted(map(str, content))[:8]}")
    if tensors.keys() == {"emb_params"}:
        return {path.stem: (_lifted(path, "emb_params", tensors["emb_params"]), {"format": "A1111 safetensors"})}
    return {name: (_lifted(path, name, value), {"format": "diffusers"}) for name, value in tensors.items()}


def _string_to_param(path: Path, content: Mapping[str, Any]) -> dict[str, tuple[Vectors, Origin]]:
    """Read files of the official code and of A1111, whose format is the same with an additional "name"."""
    parameters = content["string_to_param"]
    if isinstance(parameters, Skipped):  # a ParameterDict; old and new versions of torch both have this entry
        parameters = (parameters.state or {}).get("_parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        raise UserError(f"{path} has no vectors in its 'string_to_param'")
    name = content.get("name")
    if isinstance(name, str) and len(parameters) == 1:
        said = {key: content[key] for key in ("step", "sd_checkpoint", "sd_checkpoint_name") if content.get(key)}
        ((key, value),) = parameters.items()
        return {name: (_lifted(path, key, value), {"format": "A1111", **said})}
    tokens = content.get("string_to_token", {})
    return {
        key: (
            _lifted(path, key, value),
            {"format": "official"} | ({"token": int(tokens[key])} if key in tokens else {}),
        )
        for key, value in parameters.items()
    }


def _lifted(path: Path, name: str, value: Any) -> Vectors:
    """Return vectors as [k, width]; a single vector may be stored as [width]."""
    if not isinstance(value, Tensor) or value.ndim not in (1, 2) or not value.is_floating_point():
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"{path}: {name!r} is {shape}, not the vectors [k, width] of a word")
    return value.detach()[None] if value.ndim == 1 else value.detach()


def official(words: Mapping[str, tuple[Vectors, Origin]]) -> bytes:
    """Return the embeddings.pt of the official code. Raises UserError if the token id of a placeholder is unknown."""
    tokens = {}
    for name, (vectors, origin) in words.items():
        token = origin.get("token") or (STAR_TOKEN.get(vectors.shape[1]) if name == STAR else None)
        if token is None:
            raise UserError(
                f"the official format needs the token id of {name!r} in the model's vocabulary, which is known only "
                f"for '*' in models of width 1280 and 768: rename the word to '*'"
            )
        tokens[name] = torch.tensor(token)
    parameters = nn.ParameterDict({name: nn.Parameter(vectors.clone()) for name, (vectors, _) in words.items()})
    return _saved({"string_to_token": tokens, "string_to_param": parameters})


def a1111(name: str, vectors: Vectors, origin: Origin) -> bytes:
    """Return a .pt file of the web UI with one word."""
    content = {
        "string_to_token": {STAR: STAR_TOKEN[768]},
        "string_to_param": {STAR: vectors.clone()},
        "name": name,
        "step": origin.get("steps", origin.get("step")),
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }
    return _saved(content)


def diffusers(name: str, vectors: Vectors) -> bytes:
    """Return a file with one word for load_textual_inversion of diffusers."""
    return save({name: vectors.contiguous()})


def _saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
