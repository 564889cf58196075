"""What the page asks a training to learn, checked, and the settings of scripts/train.py that say so."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from ldm.errors import UserError, require_positive, require_whole

from .. import CONFIGS

MOST_STEPS, MOST_SEED = 100_000, 2**31 - 1
PREVIEWS = 8  # during a training
ROWS = 60  # of the table of metrics, at least
_NAME = re.compile(r"[\w<>*.+-]{1,30}")  # nothing that Hydra's grammar or a path gives a meaning
_WORD = re.compile(r"[^\W_]{1,30}")


def setups() -> dict[str, str]:
    """Return the known setups and what each does, by the comments in their files."""
    return {path.stem: _comment(path) for path in sorted((CONFIGS / "setup").glob("*.yaml"))}


def _comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    comments = [line[2:] for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]]
    return " ".join(comments)


@dataclass(frozen=True)
class LearningRequest:
    """A word to learn: its name in prompts, the coarse word it starts from, whether it is a style or a thing, the setup
    (see `setups`), the number of steps, the rate of the optimiser (None: that of the setup) and the seed. Raises
    UserError for anything else."""

    placeholder: str
    initializer: str
    style: bool
    setup: str
    steps: int
    rate: float | None
    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.placeholder, str) or not _NAME.fullmatch(self.placeholder):
            raise UserError(
                f"The new word cannot be called {self.placeholder!r}: use up to 30 letters, digits and the signs "
                "< > * . + - _, without spaces."
            )
        if not isinstance(self.initializer, str) or not _WORD.fullmatch(self.initializer):
            raise UserError(f"{self.initializer!r} is not one word: say in one word what the pictures show.")
        if self.setup not in setups():
            raise UserError(f"There is no setup {self.setup!r}.")
        require_whole("The number of steps", self.steps, 1)
        require_whole("The seed", self.seed, 0)
        if self.steps > MOST_STEPS or self.seed > MOST_SEED:
            raise UserError(f"At most {MOST_STEPS} steps and a seed of {MOST_SEED} are possible here.")
        if self.rate is not None:
            require_positive("The learning rate", self.rate)

    def overrides(self, run: Path, given: Sequence[str], templates: str) -> list[str]:
        """Return the settings of scripts/train.py for this request in the folder `run`, after those that were `given`
        to the page, such as the scale. `templates` are those for a thing."""
        every = max(1, self.steps // PREVIEWS)
        at_steps = sorted({*range(0, self.steps, every), self.steps})
        return [
            "experiment=cat_toy",
            *given,
            f"setup={self.setup}",
            f"templates@concept={'style' if self.style else templates}",
            _text("concept.placeholder", self.placeholder),
            _text("concept.initializer", self.initializer),
            _text("concept.images", str(run / "pictures")),
            _text("hydra.run.dir", str(run)),
            f"trainer.max_steps={self.steps}",
            f"callbacks.metrics.every={max(1, min(10, self.steps // ROWS))}",
            f"callbacks.previews.at_steps={at_steps}",
            f"seed={self.seed}",
            *([] if self.rate is None else [f"optim.lr={self.rate}"]),
        ]


def _text(setting: str, value: str) -> str:
    return f"{setting}={QuotedString(value, Quote.single).with_quotes()}"
