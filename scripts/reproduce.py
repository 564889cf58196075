"""The paper's figures with numbers, intervals and verdicts: on Toyland on a laptop, with scale=paper on a GPU.

python scripts/reproduce.py figure=distortion_editability
python scripts/reproduce.py figure=all budget=full
"""

import inspect
import logging
from collections.abc import Sequence
from pathlib import Path

import concepts
import hydra
from command import command
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from reproduction.cells import CellFailed, Grid
from reproduction.report import write_claims
from tqdm import tqdm

log = logging.getLogger("reproduce")


def figures_asked_for(config: DictConfig) -> list[str]:
    """Raises ValueError that lists the known ones if one is unknown."""
    known = list(config.figures)
    asked = list(config.figure) if isinstance(config.figure, ListConfig) else [config.figure]
    unknown = [name for name in asked if name not in (*known, "all")]
    if unknown:
        raise ValueError(f"there is no figure {', '.join(map(repr, unknown))}: choose of {', '.join(known)}, or all.")
    return known if "all" in asked else asked


def rendered(names: Sequence[str], folder: Path) -> Path:
    """The folder, with 25 pictures of each of the project's concepts that are named."""
    missing = [n for n in names if n in concepts.CONCEPTS and not (folder / n / concepts.TRUTH).is_file()]
    for name in tqdm(missing, desc="rendering concepts", unit="concept", disable=not missing):
        concepts.write(name, folder / name, concepts.MOST)
    return folder


def concepts_of(config: DictConfig, names: Sequence[str]) -> list[str]:
    """All that the figures named take pictures of."""
    wanted = list(config.budget.concepts)
    for figure in (config.figures[name] for name in names):
        wanted += [*figure.get("styles", []), *([figure.concept] if "concept" in figure else [])]
        wanted += [pair[side] for pair in figure.get("pairs", []) for side in ("a", "b")]
    return list(dict.fromkeys(wanted))


@hydra.main(version_base="1.3", config_path="../configs", config_name="reproduce")
@command
def main(config: DictConfig) -> None:
    folder, names = Path(config.paths.run), figures_asked_for(config)
    images = config.images or rendered(concepts_of(config, names), Path(config.paths.cache) / "concepts")
    scale = [f"scale={HydraConfig.get().runtime.choices['scale']}"]
    learn, evaluate = ([*scale, *config.budget[which], *config[which]] for which in ("learn", "evaluate"))
    grid = Grid(Path(config.cells), learn, evaluate, Path(images), config.budget.pack)
    missing = []
    for name in names:
        log.info("%s", name)
        draw = instantiate(config.figures[name], _convert_="all")
        given = {"concepts": list(config.budget.concepts), "seeds": list(config.budget.seeds)}
        taken = inspect.signature(draw).parameters
        try:
            verdicts = draw(grid, folder, **{key: value for key, value in given.items() if key in taken})
        except (CellFailed, ValueError) as error:
            missing.append(name)
            log.warning("%s: %s", name, error)
            continue
        write_claims(folder, name, verdicts)
        for verdict in verdicts:
            log.info("  %s", verdict)
    log.info("%s holds the figures, their numbers, and claims.md", folder)
    if missing or grid.failed:
        what = [f"no {', '.join(missing)}"] if missing else []
        what += [f"{len(grid.failed)} cells failed"] if grid.failed else []
        raise ValueError(f"{' and '.join(what)}: see above; the same command tries what is missing again.")


if __name__ == "__main__":
    main()
