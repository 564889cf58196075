"""Textual inversion (Gal et al. 2022): new words for a frozen latent diffusion model, learned from a few pictures.

from textual_inversion import generate, learn, load_model

ldm = load_model("toyland")
word = learn(ldm, "my/photos", initializer="cat")
images = generate(ldm, ["a photo of S* on the moon"], words=[word])
word.save("cat.safetensors")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import LearnedWord, generate, learn, load_model

__all__ = ["LearnedWord", "generate", "learn", "load_model"]


def __getattr__(name: str) -> Any:
    """The names of the API, when one is asked for: what they stand on takes seconds to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api

    return getattr(api, name)
