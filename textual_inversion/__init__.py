"""Textual inversion (Gal et al. 2022): new words for a frozen latent diffusion model, learned from a few images.

from textual_inversion import generate, learn, load_model, save_picture

ldm = load_model("toyland")
word = learn(ldm, "my/photos", initializer="cat")
images = generate(ldm, ["a photo of S* on the moon"], words=[word])
save_picture("moon.png", images[0])
word.save("cat.safetensors")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import LearnedWord, generate, learn, load_model, read_recipe, save_picture

__all__ = ["LearnedWord", "generate", "learn", "load_model", "read_recipe", "save_picture"]


def __getattr__(name: str) -> Any:
    """Import the API when one of its names is first used, since importing torch and Lightning takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api

    return getattr(api, name)
