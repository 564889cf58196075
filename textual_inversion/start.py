"""The vectors that the training of a word starts with."""

from torch import Tensor

from ldm.errors import UserError
from ldm.latent_diffusion import LatentDiffusion

from .concept import Concept
from .embedding_manager import initial_vectors
from .words.file import LearnedWord


def start_of(concept: Concept, ldm: LatentDiffusion) -> Tensor:
    """Return the vectors that a concept starts with, [k, width] or what its setup makes of them: those of the learned
    word in its file `start`, or the embedding of its initializer. Raises UserError for a word of another model or of
    another number of vectors."""
    text = ldm.text_encoder
    if concept.start is None:
        initial = initial_vectors(text, concept.initializer, concept.num_vectors)
        return concept.setup.begin(initial, ldm.unet.cross_attention_layers)
    word = LearnedWord.load(concept.start)
    word.require_fit(text.width, ldm.fingerprint, concept.start)
    if len(word.vectors) != concept.num_vectors:
        raise UserError(
            f"the word in {concept.start} has {len(word.vectors)} vectors, but num_vectors is {concept.num_vectors}: "
            f"set num_vectors to {len(word.vectors)}."
        )
    layers = ldm.unet.cross_attention_layers
    word.require_layers(layers)
    word.require_no_mapper("learning on from a word")
    return concept.setup.begin(word.vectors.to(text.device, copy=True), layers)
