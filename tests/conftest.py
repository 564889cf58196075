"""Settings that every test needs before the first import: no network, no window, the same examples every time.
And a latent diffusion model small enough that a test takes milliseconds."""

import json
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

# torch is imported by the fixtures, not here: the tests of toyland do without it.


@pytest.fixture
def build_autoencoder():
    """A builder of first stages, 16x16 pictures <-> 8x8x4 latents; its arguments change that, `init` the weights."""
    import torch

    from ldm.modules.autoencoder import AutoencoderKL

    def build(init: int = 0, **changes) -> AutoencoderKL:
        torch.manual_seed(init)
        sizes = {"channels": 8, "channel_mult": (1, 2), "num_res_blocks": 1, "groups": 4}
        return AutoencoderKL(**sizes | changes)

    return build


@pytest.fixture
def build_unet():
    """A builder of UNets for 8x8x4 latents and texts 16 wide, as they are before training: the output is zero."""
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
    """A builder of text encoders over Toyland's words, 16 wide."""
    import torch

    from ldm.modules.text import BERTTextEncoder

    def build(init: int = 0, **changes) -> BERTTextEncoder:
        torch.manual_seed(init)
        sizes = {"vocab_size": len(VOCABULARY.read_text().splitlines()), "width": 16, "depth": 1, "max_length": 16}
        return BERTTextEncoder(**{"vocabulary": VOCABULARY, "heads": 2, "dim_head": 8} | sizes | changes)

    return build


@pytest.fixture
def build_ldm(build_autoencoder, build_unet, build_text_encoder):
    """A builder of untrained latent diffusion models; its arguments are those of LatentDiffusion."""
    from ldm.latent_diffusion import LatentDiffusion

    def build(init: int = 0, **changes) -> LatentDiffusion:
        parts = {"unet": build_unet(init), "first_stage": build_autoencoder(init)}
        return LatentDiffusion(**parts | {"text_encoder": build_text_encoder(init)} | changes)

    return build


@pytest.fixture
def awaken():
    """Gives parameters that start at zero random values, as training would: only then does a residual branch speak."""
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
    """A latent diffusion model in which every part has something to say, in eval mode."""
    return awaken(build_ldm()).eval()


@pytest.fixture
def run_script(monkeypatch, capsys):
    """Runs scripts/<name>.py with arguments as from a shell, but in this process: its exit code and all it said."""
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
    """The files of a byte-pair tokenizer that has a few words in one piece and can spell everything else."""
    folder = tmp_path_factory.mktemp("tokenizer")
    from tokenizers.pre_tokenizers import ByteLevel

    symbols = sorted(ByteLevel.alphabet())
    pieces, merges = [*symbols, *(f"{symbol}</w>" for symbol in symbols)], []
    for word in ("cat", "owl", "photo"):
        letters = [*word[:-1], word[-1] + "</w>"]
        while len(letters) > 1:
            merges.append(f"{letters[0]} {letters[1]}")
            letters[:2] = [letters[0] + letters[1]]
            pieces.append(letters[0])
    pieces = list(dict.fromkeys([*pieces, "<|startoftext|>", "<|endoftext|>"]))
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(dict.fromkeys(merges)) + "\n", encoding="utf-8")
    return folder
