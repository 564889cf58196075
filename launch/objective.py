"""What a search over settings minimises or maximises: numbers in the files that a finished job has written."""

from pathlib import Path

from omegaconf import DictConfig

from ldm.errors import UserError
from ldm.training.callbacks import read_rows
from textual_inversion.evaluation.evaluation import RESULT, read_result, summary

from .given import as_list


def objective(config: DictConfig) -> float | list[float] | None:
    """Return the numbers of the finished job that `job.objective` names, or the only one: metrics of its evaluation, or
    the last values of columns of metrics.csv, such as val/loss. Returns None without names. Raises UserError for a name
    that neither file has."""
    folder, names = Path(config.paths.run), as_list(config.job.objective)
    rows, result = read_rows(folder / "metrics.csv"), read_result(folder / RESULT)
    found = {name: float(value) for row in rows for name, value in row.items()} | (summary(result) if result else {})
    for name in names:
        if name not in found:
            raise UserError(
                f"job.objective: {folder} has no {name}. It has {', '.join(sorted(found)) or 'no numbers'}."
            )
    return [found[name] for name in names] if len(names) > 1 else found[names[0]] if names else None
