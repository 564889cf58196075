"""Share a learned word: a folder in the layout of the hub's library of concepts, and the folder on the hub. The folder
holds nothing that the card does not show: no paths, no config, and pictures without their texts."""

import argparse
import json
import logging
import os
import re
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from huggingface_hub import HfApi, ModelCardData, get_token
from huggingface_hub.errors import (
    HFValidationError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage] - of the library that it connects with, whose name changes
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import validate_repo_id
from PIL import Image

from ldm.errors import UserError
from ldm.files import replacing
from ldm.images import save_png
from textual_inversion.callbacks import SHEET
from textual_inversion.scales import SCALES
from textual_inversion.words.file import FILE_NAME, LearnedWord

from . import CONFIGS
from .shell import script
from .word_files import warn_of_capitals

log = logging.getLogger("embeddings")

CARD, TOKEN, PICTURES = "README.md", "token_identifier.txt", "concept_images"
SHARED = [CARD, FILE_NAME, TOKEN, f"{PICTURES}/*.png"]  # the files that are pushed
# What of a word's provenance is shown and kept. The config holds the paths of the user's files.
SETTINGS = {
    "initializer": "initializer",
    "num_vectors": "vectors",
    "steps": "steps",
    "learning_rate": "learning rate of the optimiser",
    "seed": "seed",
    "model": "model",
    "model_fingerprint": "hash of the text encoder's weights",
    "date": "date",
    "versions": "versions",
}


def card(args: argparse.Namespace) -> None:
    """Write the folder of a word: the word, its name, pictures, and a card with the settings of its training."""
    if args.folder.exists():
        raise UserError(f"{args.folder} already exists: choose another folder.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", args.license):
        raise UserError(f"--license {args.license!r} is none of the hub: give a short name such as mit or cc-by-4.0.")
    if args.base_model is not None:
        _require_name("--base-model", args.base_model)
    word = LearnedWord.load(args.file)
    sheet = args.file / SHEET
    pictures = [_pixels(path) for path in args.pictures or ([sheet] if sheet.is_file() else [])]
    kept = {key: word.provenance[key] for key in SETTINGS if key in word.provenance}
    with replacing(args.folder) as folder:
        folder.mkdir()
        replace(word, provenance=kept).save(folder / FILE_NAME)
        (folder / TOKEN).write_text(word.placeholder, encoding="utf-8")
        for i, pixels in enumerate(pictures):
            save_png(folder / PICTURES / f"{i}.png", pixels)
        text = _card(word, kept, len(pictures), args.license, args.base_model or base_model_of(kept.get("model")))
        (folder / CARD).write_text(text, encoding="utf-8")
    warn_of_capitals(args.folder / FILE_NAME, word)
    log.info("%s: %s, with %d pictures, license %s", args.folder, word.placeholder, len(pictures), args.license)
    log.info("to publish it: %s", script("embeddings", "push", str(args.folder), "<user>/<name>"))


def base_model_of(model: Any) -> str | None:
    """Return the hub's name of a published model; None for any other."""
    file = CONFIGS / "fetch" / "model" / f"{model}.yaml"
    if not isinstance(model, str) or model not in SCALES or not file.is_file():
        return None
    return yaml.safe_load(file.read_text(encoding="utf-8"))["hub"]["repository"]


def _pixels(path: Path) -> np.ndarray:
    """Return uint8 RGB [H, W, 3] of a picture, without the texts in its file. Raises UserError if it is none."""
    if not os.path.isfile(path):
        raise UserError(f"there is no picture at {path}: give image files after --pictures.")
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise almost any exception for broken files
        raise UserError(f"{path} cannot be read as a picture: give another one, or leave it out.") from error


def _require_name(what: str, name: str) -> None:
    """Raise UserError unless `name` is <user>/<name>, with symbols that the hub allows."""
    try:
        validate_repo_id(name)
        valid = "/" in name
    except HFValidationError:
        valid = False
    if not valid:
        raise UserError(f"{what} {name!r} is no name on the hub: give <user>/<name>.")


def _card(word: LearnedWord, settings: dict[str, Any], pictures: int, license_name: str, base: str | None) -> str:
    data = ModelCardData(license=license_name, base_model=base, tags=["textual_inversion", "text-to-image"])
    vectors = f"{len(word.vectors)} vector{'s' if len(word.vectors) > 1 else ''} of width {word.width}"
    if word.mapper:
        vectors += ", and a small network that changes them with the timestep and the layer of cross-attention"
    elif word.layers is not None:
        vectors += f" for each of the model's {word.layers} layers of cross-attention"
    rows = "".join(f"| {SETTINGS[key]} | {_plain(value)} |\n" for key, value in settings.items()) or "| not known | |\n"
    images = "".join(f"![{_plain(word.placeholder)}, picture {i}]({PICTURES}/{i}.png)\n" for i in range(pictures))
    return f"""---
{data.to_yaml()}
---

# {_plain(word.placeholder)}

A word for a text-to-image model, learned from a few images by [textual inversion](https://arxiv.org/abs/2208.01618):
{vectors}, for {_plain(word.learned_for)}. Write it into a prompt as
<code>{_plain(word.placeholder)}</code>.

{images}
## How it was learned

| setting | value |
|---|---|
{rows}"""


def _plain(value: Any) -> str:
    """Return a value of a file as Markdown that shows it as it is, on one line."""
    text = value if isinstance(value, str) else json.dumps(value)
    shown = escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|!#])", lambda found: f"&#{ord(found[1])};", shown)


def push(args: argparse.Namespace) -> None:
    """Upload a folder of `card` to the hub, with the user's own token, which `hf auth login` or HF_TOKEN gives."""
    for name in (CARD, FILE_NAME, TOKEN):
        if not (args.folder / name).is_file():
            made = script("embeddings", "card", "<run folder or file>", "<new folder>")
            raise UserError(f"{args.folder} has no {name}: make the folder with {made}")
    _require_name("the repository", args.repository)
    token = get_token()
    if token is None:
        raise UserError("you are not logged in to the hub: run `hf auth login` once, or set HF_TOKEN to a token.")
    for connection in ("httpx", "httpx2"):  # by the version of huggingface_hub; they log every request
        logging.getLogger(connection).setLevel(logging.WARNING)
    hub = HfApi(token=token)
    try:
        hub.create_repo(args.repository, private=args.private, exist_ok=True)
        done = hub.upload_folder(repo_id=args.repository, folder_path=args.folder, allow_patterns=SHARED)
    except (HTTPError, OfflineModeIsEnabled, OSError) as error:
        raise UserError(
            f"the hub has not taken {args.repository} ({type(error).__name__}): check the connection, HF_HUB_OFFLINE, "
            "the name, and that your token may write."
        ) from error
    log.info("%s is at %s", args.folder, done.commit_url)
