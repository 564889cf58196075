"""What scripts/reproduce.py does: the paper's figures with numbers, intervals and verdicts."""

import inspect
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from tqdm import tqdm

from ldm.files import write_json

from .. import concepts
from .cells import CellFailed, CellStore
from .hashes import settings_hash
from .report import Figure, forget_claims, write_claims

log = logging.getLogger("reproduce")

SETTINGS = "settings.json"
OWN = frozenset("figure figures budget scale learn evaluate cells images paths".split())  # keys that are read here


def figures_asked_for(config: DictConfig) -> list[str]:
    """Raises ValueError that lists the known ones if one is unknown."""
    known = list(config.figures)
    asked = list(config.figure) if isinstance(config.figure, ListConfig) else [config.figure]
    unknown = [name for name in asked if name not in (*known, "all")]
    if unknown:
        raise ValueError(f"there is no figure {', '.join(map(repr, unknown))}: choose of {', '.join(known)}, or all.")
    return known if "all" in asked else asked


def require_budget_of_scale(config: DictConfig) -> None:
    """Raises ValueError for settings that are meant for another model: their numbers would say nothing."""
    if config.name not in config.budget.scales:
        raise ValueError(
            f"budget={config.budget.name} is for {', '.join(config.budget.scales)}, not for {config.name}: "
            f"budget=paper is the paper's."
        )


def require_own_settings(overrides: Sequence[str]) -> None:
    """Raises ValueError for an override that is train.py's or evaluate.py's: nothing here would read it."""
    for override in overrides:
        if override.lstrip("+~").split("=")[0].split(".")[0] not in OWN:
            raise ValueError(
                f"{override} would change nothing: give what words are learned with as 'learn=[\"{override}\"]', what "
                f"they are evaluated with as 'evaluate=[\"{override}\"]'."
            )


def require_same_settings(config: DictConfig, folder: Path) -> None:
    """Raises ValueError if the folder holds figures of other settings, whose verdicts would stand beside these."""
    names = ("name", "budget", "learn", "evaluate", "images")
    every = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    settings = {name: every[name] for name in names}
    file = folder / SETTINGS
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != settings:
        raise ValueError(
            f"{folder} holds figures of other settings ({file.name} lists them): give hydra.run.dir=<another folder>."
        )
    write_json(file, settings)


def render_concepts(names: Sequence[str], folder: Path) -> Path:
    """The folder, with 25 pictures of each of the project's concepts that are named, as they are rendered now."""
    own = [name for name in names if name in concepts.CONCEPTS]
    for name in tqdm(own, desc="rendering concepts", unit="concept"):
        concepts.write(name, folder / name, concepts.MOST)
    return folder


def concepts_of(config: DictConfig, names: Sequence[str]) -> list[str]:
    """All that the figures named take pictures of."""
    wanted = list(config.budget.concepts)
    for figure in (config.figures[name] for name in names):
        wanted += [*figure.get("styles", []), *figure.get("companions", [])]
        wanted += [figure.concept] if "concept" in figure else []
    return list(dict.fromkeys(wanted))


def draw_figure(config: DictConfig, name: str, store: CellStore, folder: Path) -> bool:
    """Draws the figure and judges its claims; if it cannot be drawn, that is said, and what was drawn before is kept
    without its verdicts."""
    log.info("%s", name)
    draw = instantiate(config.figures[name], _convert_="all")
    own = dict(draw.keywords)
    figure = Figure(folder, name, own.pop("claims"), settings_hash(config.figures[name]))
    taken = inspect.signature(draw.func).parameters
    budget = {which: list(config.budget[which]) for which in ("concepts", "seeds") if which in taken}
    forget_claims(folder, name)
    try:
        verdicts = draw.func(store, figure, **(budget | own))
    except (CellFailed, ValueError) as error:
        log.warning("%s: %s", name, error)
        return False
    except RuntimeError:  # a GPU that is too small for one may do for the others
        log.exception("%s", name)
        return False
    write_claims(folder, name, verdicts)
    for verdict in verdicts:
        log.info("  %s", verdict)
    return True


def reproduce(config: DictConfig) -> None:
    """The command: draws the figures that the config names, with their verdicts. Raises ValueError if some are
    missing."""
    folder, names = Path(config.paths.run), figures_asked_for(config)
    require_own_settings(HydraConfig.get().overrides.task)
    require_budget_of_scale(config)
    require_same_settings(config, folder)
    images = config.images or render_concepts(concepts_of(config, names), Path(config.paths.cache) / "concepts")
    scale = [f"scale={HydraConfig.get().runtime.choices['scale']}"]
    learn, evaluate = ([*scale, *config.budget[which], *config[which]] for which in ("learn", "evaluate"))
    store = CellStore(Path(config.cells), learn, evaluate, Path(images), config.budget.pack)
    missing = [name for name in names if not draw_figure(config, name, store, folder)]
    log.info("%s holds the figures, their numbers, and claims.md", folder)
    if missing or store.failed:
        what = [f"no {', '.join(missing)}"] if missing else []
        what += [f"{len(store.failed)} cells failed"] if store.failed else []
        raise ValueError(f"{' and '.join(what)}: see above; the same command tries what is missing again.")
