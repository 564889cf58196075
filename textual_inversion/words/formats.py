"""The file formats of other tools for learned words: the official code of the paper, the AUTOMATIC1111 web UI,
diffusers. The format is detected from the content. The name of the file is used only if the content has no name for the
word."""

import io
import math
import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ldm.errors import UserError
from ldm.weights.plain_values import Skipped

Origin = dict[str, Any]
Vectors = Tensor  # [k, width]

# The official code finds its placeholder by a token id, which the file must contain. These are the ids of "*" in the
# vocabularies of the two models (bert-base-uncased, CLIP). A1111 files also contain "*", but use the entry "name".
STAR = "*"
STAR_TOKEN = {1280: 1008, 768: 265}


# Vectors of one word. A prompt of CLIP or BERT has 75 tokens; larger tables are pieces of a network.
MOST_VECTORS = 250
# The last part of the name of a tensor in a network.
_PARAMETER = re.compile(r"(^|\.)(weight|bias)$|\.(alpha|gamma|beta|scale|running_mean|running_var|lora_\w+)$")
_OF_A_LAYER = re.compile(r"(IN|OUT)\d\d|MID\d*")
# Keys of words for models with several text encoders.
_ENCODERS = ("clip_l", "clip_g", "t5xxl", "t5", "text_encoders_0", "text_encoders_1")


def words_of_other_tools(path: Path, content: Any) -> dict[str, tuple[Vectors, Origin]]:
    """Return the words in the content of a file: placeholder -> vectors and their origin. Raises UserError if it holds
    no words. `path` names a word that has no name in the file."""
    if not isinstance(content, Mapping):
        raise UserError(f"it holds no learned words but {type(content).__name__}")
    if "string_to_param" in content:
        return _string_to_param(path, content)
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors or len(tensors) < len(content) or not all(isinstance(name, str) for name in tensors):
        raise UserError(f"it holds no learned words, only {sorted(map(str, content))[:8]}")
    _require_known_encoders(tensors.keys())
    if tensors.keys() in ({"emb_params"}, {"clip_l"}):
        ((key, value),) = tensors.items()
        return {path.stem: (_lifted(key, value), {"format": "A1111 safetensors" if key == "emb_params" else key})}
    if parameter := next(filter(_PARAMETER.search, tensors), None):
        raise UserError(f"it holds no learned words but a part of a network, such as {parameter!r}")
    words = {name: (_lifted(name, value), {"format": "diffusers"}) for name, value in tensors.items()}
    if len({vectors.shape[1] for vectors, _ in words.values()}) > 1:
        raise UserError(f"its tensors {sorted(words)[:8]} have different widths, so they are no words of one model")
    return words


def _require_known_encoders(names: Set[str]) -> None:
    """Raise UserError for a word of a model that this project does not have."""
    encoders = names & set(_ENCODERS)
    if encoders & {"t5xxl", "t5"}:
        model = "Stable Diffusion 3" if "clip_g" in encoders else "FLUX"
    elif encoders - {"clip_l"}:
        model = "Stable Diffusion XL"
    elif len(names) > 1 and all(_OF_A_LAYER.fullmatch(name) for name in names):
        model = "extended textual inversion, with one vector for each layer of the UNet"
    else:
        return
    raise UserError(f"it holds a word of {model}, which is not supported")


def _string_to_param(path: Path, content: Mapping[str, Any]) -> dict[str, tuple[Vectors, Origin]]:
    """Read files of the official code and of A1111, whose format is the same with an additional "name"."""
    parameters = content["string_to_param"]
    if isinstance(parameters, Skipped):  # a ParameterDict; old and new versions of torch both have this entry
        parameters = parameters.state.get("_parameters") if isinstance(parameters.state, Mapping) else None
    if not isinstance(parameters, Mapping) or not parameters or not all(isinstance(key, str) for key in parameters):
        raise UserError("it has no vectors in its 'string_to_param'")
    if "name" in content and len(parameters) == 1:
        ((key, value),) = parameters.items()
        name = content["name"]
        if not isinstance(name, str) or not name.strip():
            name = path.stem if key == STAR else key
        said = {key: _plain(content.get(key)) for key in ("step", "sd_checkpoint", "sd_checkpoint_name")}
        return {name: (_lifted(key, value), {"format": "A1111"} | {k: v for k, v in said.items() if v is not None})}
    tokens = content.get("string_to_token")
    numbers = {key: _plain(tokens.get(key)) if isinstance(tokens, Mapping) else None for key in parameters}
    return {
        key: (
            _lifted(key, value),
            {"format": "official"} | ({"token": numbers[key]} if type(numbers[key]) is int else {}),
        )
        for key, value in parameters.items()
    }


def _plain(value: Any) -> str | int | float | None:
    """Return a note of another tool as a value of JSON; None if it is none."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float) else None


def _lifted(name: str, value: Any) -> Vectors:
    """Return vectors as [k, width]; a single vector may be stored as [width]."""
    if not isinstance(value, Tensor) or value.ndim not in (1, 2) or not value.is_floating_point():
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"{name!r} is {shape}, not the vectors [k, width] of a word")
    vectors = value.detach()[None] if value.ndim == 1 else value.detach()
    if len(vectors) > MOST_VECTORS:
        raise UserError(f"{name!r} is {list(value.shape)}: no word has so many vectors")
    return vectors


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
