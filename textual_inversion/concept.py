"""A concept: a pseudo-word, and the images and settings to learn it with (Gal et al. 2022, section 4)."""

from dataclasses import dataclass

from ldm.errors import UserError, require_positive, require_switch, require_whole

from .captions import require_templates
from .setups import PAPER, Setup


@dataclass(frozen=True)
class Concept:
    """A pseudo-word, and the images and settings to learn it with.

    `placeholder` is the pseudo-word, any string such as "S*". `initializer` is a coarse descriptor of one word ("cat");
    its embedding initialises the vectors. `images` is a folder of images; `first` limits their number (None: all), and
    `flip` mirrors each with probability 0.5. `templates` are captions with one slot {} for the placeholder; a template
    that is listed twice is drawn twice as often. `learning_rate` is the rate of the optimiser. `setup` defines how the
    word is learned. Raises UserError for invalid values."""

    placeholder: str
    initializer: str
    images: str
    templates: tuple[str, ...]
    learning_rate: float
    num_vectors: int = 1
    flip: bool = True
    seed: int = 0
    first: int | None = None
    setup: Setup = PAPER

    def __post_init__(self) -> None:
        for name in ("placeholder", "initializer", "images"):
            if not isinstance(getattr(self, name), str):
                raise UserError(f"{name} is {getattr(self, name)!r}: give a text.")
        if not self.placeholder.strip():
            raise UserError(f"placeholder {self.placeholder!r} is empty: give the new word a name, such as 'S*'")
        if self.placeholder != self.placeholder.strip():
            raise UserError(f"placeholder {self.placeholder!r} begins or ends with a space: leave the space out")
        if len(self.initializer.split()) != 1:
            raise self._error(f"initializer {self.initializer!r} must be one word that says what it is, such as 'cat'")
        if not self.images.strip():
            raise self._error("images is empty: give the folder that holds the concept's pictures")
        try:
            require_whole("num_vectors", self.num_vectors, 1)
            require_positive("learning_rate", self.learning_rate)
            require_whole("seed", self.seed, 0)
            require_switch("flip", self.flip)
            if self.first is not None:
                require_whole("first", self.first, 1)
            require_templates(self.templates, "the placeholder goes")
        except UserError as error:
            raise self._error(str(error)) from None
        object.__setattr__(self, "templates", tuple(self.templates))  # a config gives a list

    def _error(self, message: str) -> UserError:
        return UserError(f"concept {self.placeholder!r}: {message}")
