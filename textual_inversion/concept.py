"""A concept: the pseudo-word to learn and what it is learned from (Gal et al. 2022, section 4)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

SLOT = "{}"  # where the placeholder goes in a template

Regularizer = Callable[[Tensor, Tensor], Tensor]  # (vectors [k, d], their start [k, d]) -> what joins the loss


@dataclass(frozen=True)
class Concept:
    """`placeholder` is the pseudo-word, any string such as "S*". `initializer` is a one-word coarse descriptor ("cat"),
    whose embedding the vectors start from. `images` is a folder with pictures; `flip` mirrors each with probability
    0.5. `templates` are sentences with one {} where the placeholder goes; one that is there twice is drawn twice as
    often. `learning_rate` is the one that the optimiser sees. Raises ValueError for what cannot be meant.

    The paper's other setups (section 5.1): `first` takes so many of the pictures (None: all); `grows_at` are the shares
    of the training after which one more of the vectors joins; `regularizer` joins the loss; `per_image` gives every
    picture a word of its own. Not in the paper: `fixed_norm` learns the direction of each vector only."""

    placeholder: str
    initializer: str
    images: str
    templates: tuple[str, ...]
    learning_rate: float
    num_vectors: int = 1
    flip: bool = True
    seed: int = 0
    first: int | None = None
    grows_at: tuple[float, ...] = ()
    regularizer: Regularizer | None = None
    per_image: "PerImage | None" = None
    fixed_norm: bool = False

    def __post_init__(self) -> None:
        if not self.placeholder.strip():
            raise ValueError(f"placeholder {self.placeholder!r} is empty: give the new word a name, such as 'S*'")
        if self.placeholder != self.placeholder.strip():
            raise ValueError(f"placeholder {self.placeholder!r} begins or ends with a space: leave the space out")
        if len(self.initializer.split()) != 1:
            raise self._error(f"initializer {self.initializer!r} must be one word that says what it is, such as 'cat'")
        if not self.images.strip():
            raise self._error("images is empty: give the folder that holds the concept's pictures")
        if self.num_vectors < 1:
            raise self._error(f"num_vectors is {self.num_vectors}: a word needs at least 1")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise self._error(f"learning_rate is {self.learning_rate}: it must be positive and finite")
        if self.seed < 0:
            raise self._error(f"seed is {self.seed}: it must be 0 or more")
        if self.first is not None and self.first < 1:
            raise self._error(f"first is {self.first}: a word needs at least 1 picture")
        wrong = [share for share in self.grows_at if not 0 < share < 1]
        if wrong or list(self.grows_at) != sorted(self.grows_at) or len(self.grows_at) >= max(2, self.num_vectors):
            raise self._error(
                f"grows_at is {list(self.grows_at)} for {self.num_vectors} vectors: it must be rising shares of the "
                "training between 0 and 1, fewer than there are vectors"
            )
        try:
            require_templates(self.templates, "the placeholder goes")
        except ValueError as error:
            raise self._error(str(error)) from None
        object.__setattr__(self, "templates", tuple(self.templates))  # a config gives a list
        object.__setattr__(self, "grows_at", tuple(self.grows_at))

    def _error(self, message: str) -> ValueError:
        return ValueError(f"concept {self.placeholder!r}: {message}")


@dataclass(frozen=True)
class PerImage:
    """A word S_i for each picture, for what only that picture shows (Gal et al. 2022, section 5.1): with probability
    `share` a caption is one of `templates`, in which it has the second {}. At the end the words are thrown away."""

    templates: tuple[str, ...]
    share: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"per_image.share is {self.share}: it must lie between 0 and 1")
        require_templates(self.templates, "the placeholder and the picture's own word go", slots=2)
        object.__setattr__(self, "templates", tuple(self.templates))


def require_templates(templates: Sequence[str], what_goes_there: str, slots: int = 1) -> None:
    """Raises ValueError unless each of them has that many {}."""
    if isinstance(templates, str):
        raise ValueError(f"templates is the text {templates!r}: give a list of sentences")
    if not templates:
        example = " with ".join([SLOT] * slots)
        raise ValueError(f"templates is empty: give at least one sentence such as 'a photo of {example}'")
    for template in templates:
        if template.count(SLOT) != slots:
            raise ValueError(
                f"the template {template!r} holds {SLOT} {template.count(SLOT)} times: "
                f"it must stand there {'once' if slots == 1 else 'twice'}, where {what_goes_there}"
            )
