"""Settings that must precede the first import of every test (no network, no window, the same examples every time), and
a latent diffusion model small enough for tests that take milliseconds."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parents[1]
VOCABULARY = ROOT / "assets" / "toyland" / "vocab.txt"

# torch is imported in the fixtures, not here, since the tests of toyland do not need it.


@pytest.fixture
def build_autoencoder():
    """Return a builder of first stages, by default 16x16 images <-> 8x8x4 latents; `init` changes the weights."""
    import torch

    from ldm.modules.autoencoder import AutoencoderKL

    def build(init: int = 0, **changes) -> AutoencoderKL:
        torch.manual_seed(init)
        sizes = {"channels": 8, "channel_mult": (1, 2), "num_res_blocks": 1, "groups": 4}
        return AutoencoderKL(**sizes | changes)

    return build


@pytest.fixture
def build_unet():
    """Return a builder of untrained UNets for 8x8x4 latents and texts of width 16; their output is zero."""
    import torch

    from ldm.modules.unet import UNet

    def build(init: int = 0, **changes) -> UNet:
        torch.manual_seed(init)
        sizes = {"in_channels": 4, "out_channels": 4, "model_channels": 16, "channel_mult": (1, 2), "num_res_blocks": 1}
        sizes |= {"attention_levels": (1,), "num_heads": 2, "context_dim": 16, "sample_size": 8, "groups": 4}
        return UNet(**sizes | changes)

    return build


@pytest.fixture
def build_text_encoder():
    """Return a builder of text encoders of width 16 with Toyland's vocabulary."""
    import torch

    from ldm.modules.text import BERTTextEncoder

    def build(init: int = 0, **changes) -> BERTTextEncoder:
        torch.manual_seed(init)
        sizes = {"vocab_size": len(VOCABULARY.read_text().splitlines()), "width": 16, "depth": 1, "max_length": 16}
        return BERTTextEncoder(**{"vocabulary": VOCABULARY, "heads": 2, "dim_head": 8} | sizes | changes)

    return build


@pytest.fixture
def build_ldm(build_autoencoder, build_unet, build_text_encoder):
    """Return a builder of untrained latent diffusion models, with the arguments of LatentDiffusion."""
    from ldm.latent_diffusion import LatentDiffusion

    def build(init: int = 0, **changes) -> LatentDiffusion:
        parts = {"unet": build_unet(init), "first_stage": build_autoencoder(init)}
        return LatentDiffusion(**parts | {"text_encoder": build_text_encoder(init)} | changes)

    return build


@pytest.fixture
def awaken():
    """Return a function that randomises zero-initialised parameters, since residual branches have no effect without."""
    import torch

    @torch.no_grad()
    def awakened(module, seed: int = 0):
        rng = torch.Generator().manual_seed(seed)
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=rng))
        return module

    return awakened


@pytest.fixture
def tiny_ldm(build_ldm, awaken):
    """A latent diffusion model in eval mode, in which every part affects the output."""
    return awaken(build_ldm()).eval()


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Return a function that runs scripts/<name>.py in this process as from a shell: its exit code and its output."""
    import logging
    import runpy
    import sys

    def run(name: str, *arguments: str) -> tuple[int, str]:
        script = ROOT / "scripts" / f"{name}.py"
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [str(script), *arguments])
        root, code = logging.getLogger(), 0
        handlers, level = root.handlers[:], root.level
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            for handler in set(root.handlers) - set(handlers):
                handler.close()
            root.handlers[:] = handlers
            root.setLevel(level)
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.fixture(scope="module")
def clip_vocabulary(tmp_path_factory):
    """The files of a byte-pair tokenizer with a few whole words and single characters for everything else."""
    from launch.benchmarks.vocabularies import write_byte_pairs

    return write_byte_pairs(tmp_path_factory.mktemp("tokenizer"), ("cat", "owl", "photo"))
