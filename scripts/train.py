"""Train anything a config describes: a new word, the autoencoder, the diffusion model, the small CLIP.

python scripts/train.py experiment=cat_toy
python scripts/train.py experiment=cat_toy optim.lr=0.01,0.02 launcher=packed
python scripts/train.py sweep.resume=<folder of a sweep>
"""

import json
import sys
from pathlib import Path

import folders
import gpus
import hydra
import jobs
from command import command
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

RESUME = "sweep.resume="


def require_experiment() -> None:
    """Raises ValueError if the command line names none."""
    if HydraConfig.get().runtime.choices["experiment"] is None:
        known = GlobalHydra.instance().config_loader().get_group_options("experiment")
        raise ValueError(f"nothing to do: add experiment=<one of {', '.join(known)}> to the command.")


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
@command
def main(config: DictConfig) -> None:
    require_experiment()
    if config.own_gpu:
        gpus.take_one()
    from training import train  # torch: seconds, which --help does without

    train(jobs.named(config))


def with_resumed_sweep(arguments: list[str]) -> list[str]:
    """The command line of the sweep that `sweep.resume=<folder>` names, in the same folder; what else stands on the
    command line comes after it."""
    resumed = [argument for argument in arguments if argument.startswith(RESUME)]
    if not resumed:
        return arguments
    folder = Path(resumed[-1].removeprefix(RESUME))
    try:
        earlier = json.loads((folder / jobs.SWEEP).read_text(encoding="utf-8"))["command"]
    except FileNotFoundError:
        sys.exit(f"error: {folder} is no sweep's folder: there is no {jobs.SWEEP} in it.")
    more = [argument for argument in arguments if not argument.startswith(RESUME)]
    return [a for a in earlier if not a.startswith("hydra.sweep.dir=")] + more + [f"hydra.sweep.dir={folder}"]


if __name__ == "__main__":
    OmegaConf.register_new_resolver("fresh", folders.fresh, replace=True)
    OmegaConf.register_new_resolver("gpus", lambda: max(1, len(gpus.visible())), replace=True)
    sys.argv[1:] = with_resumed_sweep(sys.argv[1:])
    main()
