"""Convert weights between the published names and the folders of diffusers (`LDMTextToImagePipeline`,
`StableDiffusionPipeline`). Each part has one function that maps published names to names in diffusers."""

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError
from .reading import read_file

log = logging.getLogger(__name__)

Renaming = dict[str, str]  # published name -> name in diffusers

_RES_BLOCK = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2", "out_layers.3": "conv2", "skip_connection": "conv_shortcut",
}  # fmt: skip
_UNET_ENDS = {
    "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out",
}  # fmt: skip
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
# Files from before diffusers 0.15 have other names for the projections.
_OLD_VAE_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_BERT_LAYER = {  # layers alternate: attention, feed-forward
    "attention": {"0": "self_attn_layer_norm", "1.to_q": "self_attn.q_proj", "1.to_k": "self_attn.k_proj",
                  "1.to_v": "self_attn.v_proj", "1.to_out": "self_attn.out_proj"},
    "feed_forward": {"0": "final_layer_norm", "1.net.0.0": "fc1", "1.net.2": "fc2"},
}  # fmt: skip
_BERT_ENDS = {
    "token_emb": "model.embed_tokens", "pos_emb.emb": "model.embed_positions",
    "norm": "model.layer_norm", "to_logits": "to_logits",
}  # fmt: skip


def _split(name: str) -> tuple[str, str]:
    """Split "a.b.weight" into "a.b" and "weight"."""
    stem, _, leaf = name.rpartition(".")
    return stem, leaf


def blocks_per_level(names: Iterable[str]) -> int:
    """Return the number of residual blocks per level of a UNet, from the index of its first downsampling layer."""
    matches = [re.match(r"input_blocks\.(\d+)\.0\.(op\.)?", name) for name in names]
    places = [(int(m.group(1)), bool(m.group(2))) for m in matches if m]
    first_op = min((n for n, is_op in places if is_op), default=max(n for n, _ in places) + 1)
    return first_op - 1


def unet_names(names: Iterable[str]) -> Renaming:
    """Map the names of a text-conditional UNet, without the prefix "model.diffusion_model.", to those in diffusers."""
    names = list(names)
    per_level = blocks_per_level(names)
    return {name: _unet_name(name, per_level) for name in names}


def _unet_name(name: str, per_level: int) -> str:
    stem, leaf = _split(name)
    if stem in _UNET_ENDS:
        return f"{_UNET_ENDS[stem]}.{leaf}"
    if match := re.match(r"middle_block\.(\d)\.(.*)", stem):
        place, rest = int(match.group(1)), match.group(2)
        where = "mid_block.attentions.0" if place == 1 else f"mid_block.resnets.{place // 2}"
        return f"{where}.{_RES_BLOCK.get(rest, rest)}.{leaf}"
    match = re.match(r"(input|output)_blocks\.(\d+)\.\d\.(.*)", stem)
    if match is None:
        raise UserError(f"{name} has no counterpart in the UNet of diffusers")
    side, block, rest = match.group(1), int(match.group(2)), match.group(3)
    level, place = divmod(block - 1, per_level + 1) if side == "input" else divmod(block, per_level + 1)
    where = f"{'down' if side == 'input' else 'up'}_blocks.{level}"
    if rest == "op":
        return f"{where}.downsamplers.0.conv.{leaf}"
    if rest == "conv":
        return f"{where}.upsamplers.0.conv.{leaf}"
    if rest in _RES_BLOCK:
        return f"{where}.resnets.{place}.{_RES_BLOCK[rest]}.{leaf}"
    return f"{where}.attentions.{place}.{rest}.{leaf}"


def autoencoder_names(names: Iterable[str]) -> Renaming:
    """Map the names of an AutoencoderKL to those in diffusers. Attention is supported in the middle block only, where
    all published kl-f8 models have it."""
    names = list(names)
    levels = 1 + max(int(match.group(1)) for name in names if (match := re.match(r"encoder\.down\.(\d+)\.", name)))
    return {name: _autoencoder_name(name, levels) for name in names}


def _autoencoder_name(name: str, levels: int) -> str:
    stem, leaf = _split(name)
    stem = stem.replace("norm_out", "conv_norm_out").replace("nin_shortcut", "conv_shortcut")
    stem = re.sub(r"mid\.block_([12])", lambda m: f"mid_block.resnets.{int(m.group(1)) - 1}", stem)
    stem = re.sub(r"mid\.attn_1\.(\w+)", lambda m: f"mid_block.attentions.0.{_VAE_ATTENTION[m.group(1)]}", stem)
    stem = re.sub(r"down\.(\d+)\.block", r"down_blocks.\1.resnets", stem)
    stem = re.sub(r"down\.(\d+)\.downsample", r"down_blocks.\1.downsamplers.0", stem)
    stem = re.sub(r"up\.(\d+)\.block", lambda m: f"up_blocks.{levels - 1 - int(m.group(1))}.resnets", stem)
    stem = re.sub(r"up\.(\d+)\.upsample", lambda m: f"up_blocks.{levels - 1 - int(m.group(1))}.upsamplers.0", stem)
    return f"{stem}.{leaf}"


def bert_names(names: Iterable[str]) -> Renaming:
    """Map the names of the BERT-style encoder to those of LDMBertModel in diffusers."""
    return {name: _bert_name(name) for name in names}


def _bert_name(name: str) -> str:
    stem, leaf = _split(name.removeprefix("transformer."))
    if stem in _BERT_ENDS:
        return f"{_BERT_ENDS[stem]}.{leaf}"
    match = re.match(r"attn_layers\.layers\.(\d+)\.(.*)", stem)
    if match is None:
        raise UserError(f"{name} has no counterpart in an LDMBertModel")
    layer, half = divmod(int(match.group(1)), 2)
    table = _BERT_LAYER["feed_forward" if half else "attention"]
    return f"model.layers.{layer}.{table[match.group(2)]}.{leaf}"


def clip_names(names: Iterable[str]) -> Renaming:
    """Map the names of CLIP's text encoder to those of transformers 4; `_as_written` handles version 5."""
    return {name: name.removeprefix("transformer.") for name in names}


# Prefix of a part of the model -> possible folders of that part, and the function that maps the names.
_TEXT = {"bert": bert_names, "text_encoder": clip_names}
PARTS: dict[str, dict[str, Callable[[Iterable[str]], Renaming]]] = {
    "model.diffusion_model.": {"unet": unet_names},
    "first_stage_model.": {"vae": autoencoder_names, "vqvae": autoencoder_names},
    "cond_stage_model.": _TEXT,
}
_FILES = ("diffusion_pytorch_model", "model", "pytorch_model")
_VARIANTS = ("", ".fp16", ".bf16", ".fp32", ".non_ema")  # in the order in which they are preferred
_SHARDS = 1000
# The text encoder of CLIP, and what a complete CLIP has beside it.
CLIP_TEXT = ("embeddings.", "encoder.layers.", "final_layer_norm.")
BESIDE_TEXT = ("vision_model.", "visual_projection.", "text_projection.", "logit_scale")


def is_diffusers_folder(path: Path) -> bool:
    return (path / "model_index.json").is_file()


def read_diffusers(folder: Path, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights in the folder of a pipeline under the published names.

    `own`, the state dict of the model, defines these names and provides the tables that diffusers does not store (the
    noise schedule). A tensor without a counterpart is returned as "<folder>/<its name>", so that a strict loader
    reports it. Raises UserError if a folder or a file is missing."""
    weights = {name: value for name, value in own.items() if not name.startswith(tuple(PARTS))}
    for prefix, places in PARTS.items():
        found = next((place for place in places if (folder / place).is_dir()), None)
        if found is None:
            raise UserError(f"{folder} has no folder {' or '.join(places)}: the download is incomplete.")
        names = [name.removeprefix(prefix) for name in own if name.startswith(prefix)]
        ours = {theirs: prefix + name for name, theirs in places[found](names).items()}
        for theirs, value in _as_written(read_part(folder / found)).items():
            if found == "text_encoder" and theirs.startswith(BESIDE_TEXT):
                continue
            name = ours.get(theirs, f"{found}/{theirs}")
            weights[name] = value.reshape(own[name].shape) if _same_but_for_ones(value, own.get(name)) else value
    return weights


@cache  # once, although a large file is read in several parts
def _tell(variant: str, folder: Path) -> None:
    log.info("reading the variant %s of %s", variant, folder)


def read_part(folder: Path) -> dict[str, Tensor]:
    """Return the weights of one part of a pipeline, such as its "unet" folder, under the names of diffusers: from one
    file or from shards with an index, in full or in half precision."""
    for variant in _VARIANTS:
        for stem in _FILES:
            for suffix in (".safetensors", ".bin"):
                file, index = folder / f"{stem}{variant}{suffix}", folder / f"{stem}{suffix}.index{variant}.json"
                if file.is_file() or index.is_file():
                    if variant:
                        _tell(variant.removeprefix("."), folder)
                    return read_file(file) if file.is_file() else _read_shards(index)
    found = sorted(path.name for path in folder.iterdir() if path.suffix not in (".json", ".txt"))[:5]
    held = f"only {', '.join(found)}" if found else "the download is incomplete"
    raise UserError(f"{folder} has no weights called {' or '.join(_FILES)} (.safetensors, .bin): {held}.")


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Return the weights of all files that an index names. They lie beside it."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        files = sorted(set(content["weight_map"].values()))
        known = all(Path(name).name == name and name.isprintable() for name in files) and 0 < len(files) <= _SHARDS
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        known = False
    if not known:
        raise UserError(f"{index} is damaged or no index of weights: download it again.")
    if missing := [name for name in files if not (index.parent / name).is_file()]:
        raise UserError(f"{index.parent} has no {missing[0]}, which {index.name} names: the download is incomplete.")
    return {name: value for file in files for name, value in read_file(index.parent / file).items()}


def _as_written(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors written by other versions of diffusers and transformers to their current names."""
    renamed = {}
    for name, value in weights.items():
        if name.startswith(CLIP_TEXT):
            name = f"text_model.{name}"  # transformers 5 omits the prefix
        parts = name.split(".")
        if "attentions" in parts and parts[-2] in _OLD_VAE_ATTENTION:
            name = ".".join([*parts[:-2], _OLD_VAE_ATTENTION[parts[-2]], parts[-1]])
        renamed[name] = value
    return renamed


def _same_but_for_ones(value: Tensor, own: Tensor | None) -> bool:
    """Return whether the shapes differ only in dimensions of size 1: a 1x1 convolution here is a linear layer in
    diffusers."""
    return own is not None and value.shape != own.shape and list(value.shape) == [n for n in own.shape if n > 1]


def diffusers_parts(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Split weights with published names into the tensors of each folder of diffusers: "unet", "vae" and
    "text_encoder", or "unet", "vqvae" and "bert"."""
    bert = any(name.startswith("cond_stage_model.transformer.token_emb") for name in weights)
    chosen = {
        "model.diffusion_model.": ("unet", unet_names),
        "first_stage_model.": ("vqvae" if bert else "vae", autoencoder_names),
        "cond_stage_model.": ("bert", bert_names) if bert else ("text_encoder", clip_names),
    }
    parts = {}
    for prefix, (place, rename) in chosen.items():
        names = [name.removeprefix(prefix) for name in weights if name.startswith(prefix)]
        parts[place] = {
            theirs: _as_linear(theirs, weights[prefix + name])
            for name, theirs in rename(names).items()
            if not theirs.endswith("position_ids")
        }
    return parts


def _as_linear(name: str, value: Tensor) -> Tensor:
    """Convert the 1x1 convolutions of the autoencoder's attention to linear layers, as in diffusers."""
    return value.flatten(1) if ".attentions.0.to_" in name and value.ndim == 4 else value


def write_diffusers(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write the weights of all parts as diffusers stores them, without config files."""
    for place, tensors in diffusers_parts(weights).items():
        stem = "model" if place in _TEXT else "diffusion_pytorch_model"
        (folder / place).mkdir(parents=True, exist_ok=True)
        contiguous = {name: value.contiguous() for name, value in tensors.items()}
        save_file(contiguous, folder / place / f"{stem}.safetensors", {"format": "pt"})
