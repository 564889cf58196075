"""scripts/fetch.py: download published weights and convert them once to the file that the other commands read."""

import logging
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig
from safetensors.torch import save_file

from ldm.errors import UserError
from ldm.files import replacing
from ldm.weights.checkpoint import load_as_stored
from ldm.weights.download import Unreachable, download, require_space

from . import CONFIGS

log = logging.getLogger("fetch")

NO_NETWORK = (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError)


def from_hub(repository: str, files: list[str], folder: Path) -> Path:
    """Download `files` of a hub repository into `folder` with huggingface_hub. Raises UserError with instructions for
    a manual download if the hub cannot be reached."""
    if all(any(folder.glob(pattern)) for pattern in files):
        log.info("%s already exists", folder)
        return folder
    try:
        snapshot_download(repository, allow_patterns=files, local_dir=folder)
    except NO_NETWORK as error:
        raise UserError(
            f"cannot download {repository} from huggingface.co ({type(error).__name__}). On a machine with access, "
            f"download {', '.join(files)} from https://huggingface.co/{repository}, put them into {folder}, and run "
            f"this command again."
        ) from error
    missing = [pattern for pattern in files if not any(folder.glob(pattern))]
    if missing:
        raise UserError(f"{repository} has no {', '.join(missing)}: has the repository changed?")
    return folder


def original(urls: list[str], sha256: str | None, path: Path) -> Path:
    try:
        return download(urls, path, sha256)
    except Unreachable as error:
        raise UserError(
            f"cannot download the checkpoint from any mirror ({error}). On a machine with access, download it, put it "
            f"at {path}, and run this command again."
        ) from error


def build(name: str) -> Any:
    """Build the model of configs/model/`name`, untrained."""
    GlobalHydra.instance().clear()  # the configs of this command are in another folder
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", overrides=["experiment=cat_toy", f"+model@published={name}"])
    return instantiate(config.published, _convert_="all")


def convert(config_name: str, weights: Path, target: Path) -> None:
    """Load `weights` strictly into the model and write them with the published names to one safetensors file."""
    log.info("converting %s ...", weights)
    model = load_as_stored(lambda: build(config_name), weights)
    with replacing(target) as partial:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, partial, {"format": "pt"})


def fetch(config: DictConfig) -> None:
    """Download and convert the weights of the config to `models`/<name>."""
    choice, models = config.model, Path(config.models)
    folder = models / choice.name
    target = folder / "model.safetensors"
    if choice.tokenizer:
        tokenizer = choice.tokenizer
        from_hub(tokenizer.repository, list(tokenizer.files), models / tokenizer.folder)
    if choice.config and target.is_file():
        log.info("%s already exists", target)
        return
    require_space(folder, int(choice.bytes) * (2 if choice.config else 1))
    if config.source == "original" and choice.original:
        weights = original(list(choice.original.urls), choice.original.sha256, folder / "original.ckpt")
    elif config.source == "hub":
        weights = from_hub(choice.hub.repository, list(choice.hub.files), folder / "hub" if choice.config else folder)
    else:
        known = "hub or original" if choice.original else "hub"
        raise UserError(f"source={config.source}: {choice.name} is available with source={known}")
    if choice.config:
        convert(choice.config, weights, target)
    log.info("%s is ready", target if choice.config else folder)
