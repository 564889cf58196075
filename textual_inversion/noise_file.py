"""The noise of an inverted picture on disk: a safetensors file that says how the noise was found, since only the same
model with the same prompt and steps makes the picture from it again."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ldm.errors import UserError
from ldm.files import write_whole
from ldm.latent_diffusion import LatentDiffusion
from ldm.sampling import Sampler
from ldm.weights.fingerprint import weights_hash
from ldm.weights.reading import read_content

FILE_NAME = "noise.safetensors"  # in a run folder of scripts/invert.py
FORMAT, TENSOR = "inverted_noise", "z_T"


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise `z_T` [c, h, w] of a picture, found with the prompt `source` in DDIM `steps` with `spacing` by a model
    with the hash `model`."""

    z_T: Tensor = field(repr=False)
    source: str
    steps: int
    spacing: str
    model: str

    @classmethod
    def of(cls, z_T: Tensor, source: str, sampler: Sampler, ldm: LatentDiffusion) -> "Noise":
        return cls(z_T.float().cpu(), source, sampler.steps, sampler.spacing.__name__, weights_hash(ldm))

    def save(self, path: Path) -> None:
        """Write a safetensors file. The file is complete or absent."""
        found = {name: value for name, value in asdict(self).items() if name != TENSOR}
        write_whole(path, save({TENSOR: self.z_T.contiguous()}, {"format": FORMAT, "found": json.dumps(found)}))

    @classmethod
    def load(cls, path: Path) -> "Noise":
        """Load the file `path`, or the one in the run folder `path`. Raises UserError if it cannot be read, or if it
        holds no noise of `save`."""
        path = path / FILE_NAME if path.is_dir() else path
        if not path.is_file():
            raise UserError(f"there is no noise at {path}: give a run folder of scripts/invert.py, or its file.")
        content, metadata = read_content(path)
        if metadata.get("format") != FORMAT:
            raise UserError(f"{path} is not the noise of a picture: give the noise.safetensors of scripts/invert.py.")
        try:
            found = json.loads(metadata["found"])
            noise = cls(content[TENSOR], **found)
            whole = isinstance(noise.source, str) and isinstance(noise.steps, int) and noise.z_T.ndim == 3
            if not whole or noise.z_T.dtype != torch.float32 or not noise.z_T.isfinite().all():
                raise ValueError("its values are not those of a noise")
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise UserError(f"{path} is damaged ({error}): invert the picture again.") from error
        return noise

    def require_fit(self, ldm: LatentDiffusion, sampler: Sampler, path: Path) -> None:
        """Raise UserError unless this model with this sampler makes the picture from the noise again."""
        wanted = (ldm.unet.out_channels, ldm.unet.sample_size, ldm.unet.sample_size)
        if tuple(self.z_T.shape) != wanted or self.model != weights_hash(ldm):
            raise UserError(
                f"the noise {path} was found with other weights than those of this model ({ldm.name}): use the same "
                f"scale, weights and difference, or invert the picture again."
            )
        if (self.steps, self.spacing) != (sampler.steps, sampler.spacing.__name__):
            raise UserError(
                f"the noise {path} was found in {self.steps} steps ({self.spacing}), not in {sampler.steps} "
                f"({sampler.spacing.__name__}): use sampler.steps={self.steps} and the same sampler."
            )
