"""The vectors that the training of a word starts with."""

from torch import Tensor

from ldm.errors import UserError
from ldm.latent_diffusion import LatentDiffusion

from .concept import Concept
from .embedding_manager import initial_vectors
from .words.file import LearnedWord


def start_of(concept: Concept, ldm: LatentDiffusion) -> Tensor:
    """Return the vectors [k, width] that a concept starts with: those of the learned word in its file `start`, or the
    embedding of its initializer. Raises UserError for a word of another model or of another number of vectors."""
    text = ldm.text_encoder
    if concept.start is None:
        return initial_vectors(text, concept.initializer, concept.num_vectors)
    word = LearnedWord.load(concept.start)
    word.require_fit(text.width, ldm.fingerprint, concept.start)
    if len(word.vectors) != concept.num_vectors:
        raise UserError(
            f"the word in {concept.start} has {len(word.vectors)} vectors, but num_vectors is {concept.num_vectors}: "
            f"set num_vectors to {len(word.vectors)}."
        )
    return word.vectors.to(text.device, copy=True)
