"""scripts/reproduce.py: draw the figures of the paper, with numbers, intervals and verdicts."""

import inspect
import logging
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from tqdm import tqdm

from ldm.errors import UserError

from .. import concepts, failures
from .cells import CellFailed, CellStore
from .hashes import settings_hash
from .protocol import claim_folder, resolve_protocol, weights_of
from .report import Figure, forget_claims, write_claims

log = logging.getLogger("reproduce")

OWN = frozenset("figure figures budget scale learn evaluate cells images paths".split())  # keys that this command reads


def figures_asked_for(config: DictConfig) -> list[str]:
    """Return the names of the requested figures. Raises UserError with the known names if one is unknown."""
    known = list(config.figures)
    asked = list(config.figure) if isinstance(config.figure, ListConfig) else [config.figure]
    unknown = [name for name in asked if name not in (*known, "all")]
    if unknown:
        raise UserError(f"there is no figure {', '.join(map(repr, unknown))}: choose from {', '.join(known)}, or all.")
    return known if "all" in asked else asked


def require_budget_of_scale(config: DictConfig) -> None:
    """Raise UserError if the budget is meant for another model: the results would be meaningless."""
    if config.name not in config.budget.scales:
        raise UserError(
            f"budget={config.budget.name} is for {', '.join(config.budget.scales)}, not for {config.name}: "
            f"budget=paper has the paper's settings."
        )


def require_own_settings(overrides: Sequence[str]) -> None:
    """Raise UserError for an override of train.py or evaluate.py, which this command does not read."""
    for override in overrides:
        if override.lstrip("+~").split("=")[0].split(".")[0] not in OWN:
            raise UserError(
                f"{override} would have no effect: pass training settings as 'learn=[\"{override}\"]', evaluation "
                f"settings as 'evaluate=[\"{override}\"]'."
            )


def open_store(config: DictConfig) -> CellStore:
    """Return the store of the config's cells."""
    learn, evaluate = (
        [f"scale={config.name}", *config.budget[which], *config[which]] for which in ("learn", "evaluate")
    )
    images = Path(config.images or Path(config.paths.cache) / "concepts")
    return CellStore(Path(config.cells), learn, evaluate, images, config.budget.pack)


def render_concepts(names: Sequence[str], folder: Path) -> None:
    """Render 25 images of each of the project's own concepts in `names` into `folder`, and 25 further ones of toys."""
    own = [name for name in names if name in concepts.EVERY]
    for name in tqdm(own, desc="rendering concepts", unit="concept"):
        concepts.write(name, folder, concepts.MOST)
        if concepts.EVERY[name].home is not None:
            concepts.write_unseen(name, folder)


def concepts_of(config: DictConfig, names: Sequence[str]) -> list[str]:
    """Return all concepts that the figures use."""
    wanted = list(config.budget.concepts)
    for figure in (config.figures[name] for name in names):
        wanted += [*figure.get("styles", []), *figure.get("companions", [])]
        wanted += [figure.concept] if "concept" in figure else []
    return list(dict.fromkeys(wanted))


def draw_figure(config: DictConfig, name: str, store: CellStore, folder: Path) -> bool:
    """Draw the figure and judge its claims; return whether it could be drawn. If not, log the reason; an earlier
    drawing stays, without its verdicts."""
    log.info("%s", name)
    draw = instantiate(config.figures[name], _convert_="all")
    own = dict(draw.keywords)
    figure = Figure(folder, name, own.pop("claims"), settings_hash(config.figures[name]))
    taken = inspect.signature(draw.func).parameters
    budget = {which: list(config.budget[which]) for which in ("concepts", "seeds") if which in taken}
    forget_claims(folder, name)
    try:
        verdicts = draw.func(store, figure, **(budget | own))
    except CellFailed as error:
        log.warning("%s: %s", name, error)
        return False
    except Exception as error:  # the others may still be drawn
        failures.report(error, lambda said: log.warning("%s: %s", name, said))
        return False
    write_claims(folder, name, verdicts)
    for verdict in verdicts:
        log.info("  %s", verdict)
    return True


def reproduce(config: DictConfig) -> None:
    """Draw the figures of the config, with their verdicts. Raises UserError at the end if some could not be drawn."""
    folder, names = Path(config.paths.run), figures_asked_for(config)
    require_own_settings(HydraConfig.get().overrides.task)
    require_budget_of_scale(config)
    store = open_store(config)
    claim_folder(folder, resolve_protocol(config, store), weights_of(config, store))
    if config.images is None:
        render_concepts(concepts_of(config, names), store.pictures)
    missing = [name for name in names if not draw_figure(config, name, store, folder)]
    log.info("%s holds the figures, their numbers, and claims.md", folder)
    if missing or store.failed:
        what = [f"no {', '.join(missing)}"] if missing else []
        what += [f"{len(store.failed)} cells failed"] if store.failed else []
        raise UserError(f"{' and '.join(what)}: see above. Run the same command again to retry.")
