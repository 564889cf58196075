"""Train anything a config describes: a new word, the autoencoder, the diffusion model, the small CLIP.

python scripts/train.py experiment=cat_toy
"""

import logging
import warnings
from pathlib import Path

import hydra
from command import command
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger("train")

# Lightning's warnings in every run: the frozen model is in eval mode, the run folder has a log, batches are made in the
# main process, a call of its own is outdated.
HARMLESS = ("Found .* in eval mode", "Checkpoint directory .* not empty", ".* does not have many workers", ".*LeafSpec")


def ignore_harmless_warnings() -> None:
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message)


def checkpoint_to_resume(resume: str | None, run: Path) -> str | None:
    """The checkpoint to go on from: `resume` is "auto" (the run folder's own, if any), a path that must exist, or
    None."""
    if resume is None:
        return None
    path = run / "last.ckpt" if resume == "auto" else Path(resume)
    if path.is_file():
        return str(path)
    if resume == "auto":
        return None
    raise ValueError(f"resume={resume}: there is no such checkpoint; leave it out to start anew.")


def require_experiment() -> None:
    """Raises ValueError if the command line names none."""
    if HydraConfig.get().runtime.choices["experiment"] is None:
        known = GlobalHydra.instance().config_loader().get_group_options("experiment")
        raise ValueError(f"nothing to do: add experiment=<one of {', '.join(known)}> to the command.")


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
@command
def main(config: DictConfig) -> None:
    require_experiment()
    import torch  # seconds, which --help does without

    run = Path(config.paths.run)
    checkpoint = checkpoint_to_resume(config.resume, run)
    torch.manual_seed(config.seed)  # initial weights; every later draw is keyed by (seed, step)
    data = instantiate(config.data, _convert_="all")
    module = instantiate(config.module, _convert_="all")
    callbacks = [instantiate(callback, _convert_="all") for callback in config.callbacks.values() if callback]
    trainer = instantiate(config.trainer, callbacks=callbacks, _convert_="all")
    OmegaConf.save(config, run / "config.yaml", resolve=True)
    if checkpoint:
        log.info("resuming from %s", checkpoint)
    ignore_harmless_warnings()
    trainer.fit(module, data, ckpt_path=checkpoint)


if __name__ == "__main__":
    main()
