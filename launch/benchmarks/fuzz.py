"""Readers of files under damaged files: every reader either reads a file or raises the error for users, at once and
with memory in proportion to the file. The files are damaged as bytes, and inside of their archive or header, where the
checks of the outer format no longer help."""

import json
import logging
import random
import re
import shutil
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from ldm.errors import UserError
from ldm.training.resumption import read_state
from ldm.weights.checkpoint import read_weights
from ldm.weights.diffusers_layout import read_part
from textual_inversion.words.file import LearnedWord, load_words, save_words
from textual_inversion.words.formats import a1111, diffusers, official

from ..recorded import concepts_in, with_resumed_sweep

log = logging.getLogger("fuzz")

Damage = Callable[[bytes, random.Random], bytes]
Reader = Callable[[Path], Any]

TIMES = 3  # the size of a file that its reader may take in memory, beside a fixed amount
PART = "diffusion_pytorch_model"
_NUMBERS = (0, 1, 127, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwritten(content: bytes, rng: random.Random) -> bytes:
    """Put a number that often breaks a program, of 1, 2, 4 or 8 bytes, at any place."""
    width, number = rng.choice((1, 2, 4, 8)), rng.choice(_NUMBERS)
    place = rng.randrange(len(content))
    return content[:place] + (number % 256**width).to_bytes(width, "little") + content[place + width :]


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(1, len(content) + 1)]


def shortened(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randrange(1, 64) :]


def repeated(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    piece = content[start : start + rng.randrange(1, 64)]
    return content[:start] + piece * rng.choice((2, 3, 50)) + content[start + len(piece) :]


DAMAGES: tuple[Damage, ...] = (flipped, overwritten, cut, shortened, repeated)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return the content with one or two damages, in half of the cases inside of its archive or header."""
    inner = rng.random() < 0.5
    for _ in range(rng.choice((1, 1, 2))):
        damage = rng.choice(DAMAGES)
        if inner and content.startswith(b"PK"):
            content = _in_archive(content, damage, rng)
        elif inner and content[8:9] == b"{":
            content = _in_header(content, damage, rng)
        else:
            content = damage(content or b"\0", rng)
    return content


def _in_archive(content: bytes, damage: Damage, rng: random.Random) -> bytes:
    """Damage the pickle, and sometimes another record, and write the archive again."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            records = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # it is damaged already
        return damage(content, rng)
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))) as archive:
        for name, record in records:
            hit = name.endswith("data.pkl") or rng.random() < 0.1
            archive.writestr(name, damage(record, rng) if hit and record else record)
    return buffer.getvalue()


def _in_header(content: bytes, damage: Damage, rng: random.Random) -> bytes:
    """Damage the header of a safetensors file, and correct its length."""
    (length,) = struct.unpack("<Q", content[:8])
    header = damage(content[8 : 8 + length], rng)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def samples() -> dict[str, tuple[bytes, Reader, str]]:
    """Return name -> (content of an undamaged file, its reader, name of the file)."""
    vectors = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    words = {
        "ours": _own_words(vectors),
        "diffusers": diffusers("<cat>", vectors),
        "web UI": a1111("cat", vectors, {"steps": 5}),
        "web UI safetensors": save({"emb_params": vectors}),
        "official": official({"*": (vectors, {"token": 7})}),
        "bin": _saved({"<cat>": vectors}),
        "old bin": _saved({"<cat>": nn.Parameter(vectors[0])}, legacy=True),
    }
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).state_dict()
    state = {"state_dict": model, "global_step": 3, "callbacks": {"best": None, "seen": [1, (2.5, "x")]}}
    weights = {"safetensors": save(model), "ckpt": _saved(state), "old ckpt": _saved(state, legacy=True)}
    record = {"command": ["experiment=cat_toy", "optim.lr=0.01,0.02", "launcher=local"], "jobs": []}
    found: dict[str, tuple[bytes, Reader, str]] = {}
    found |= {f"word: {name}": (content, read_word, "word.bin") for name, content in words.items()}
    found["word: concept's folder"] = (words["bin"], read_word_in_folder, "learned_embeds.bin")
    found |= {f"weights: {name}": (content, read_weights, "model.ckpt") for name, content in weights.items()}
    found["weights: part of a pipeline"] = (weights["safetensors"], read_part_in_folder, PART + ".safetensors")
    found["weights: old part of a pipeline"] = (weights["ckpt"], read_part_in_folder, PART + ".bin")
    found |= {f"training state: {name}": (weights[name], read_state, "last.ckpt") for name in ("ckpt", "old ckpt")}
    return found | {"sweep's record": (json.dumps(record).encode(), read_sweep, "sweep.json")}


def read_word(path: Path) -> None:
    for word in load_words(path):
        concepts_in(word.provenance.get("config"))
        json.dumps(word.provenance, allow_nan=False)


def read_word_in_folder(path: Path) -> None:
    read_word(path.parent)


def read_part_in_folder(path: Path) -> None:
    read_part(path.parent)


def read_sweep(path: Path) -> None:
    with_resumed_sweep([f"sweep.resume={path.parent}"])


def _own_words(vectors: torch.Tensor) -> bytes:
    config = json.dumps({"module": {"concepts": [{"placeholder": "S*", "images": "photos"}]}})
    with tempfile.TemporaryDirectory() as place:
        save_words(Path(place) / "word", [LearnedWord("S*", vectors, {"steps": 5, "config": config})])
        return (Path(place) / "word").read_bytes()


def _saved(content: Any, legacy: bool = False) -> bytes:
    buffer = BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def fuzz(folder: Path, files: int, seed: int) -> dict[str, dict[str, Any]]:
    """Read `files` damaged files in all, as many with one reader as with another. Returns for each reader how many were
    read and refused, how many ended in any other error, the most seconds of processor time, and the most bytes of
    memory beyond `TIMES` the size of the file. The files that ended in another error stay in `folder`. An undamaged
    file must be read."""
    results: dict[str, dict[str, Any]] = {}
    found = samples()
    for name, (content, read, file_name) in found.items():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = Path(place) / file_name
            path.write_bytes(content)
            read(path)
            rng = random.Random(f"{seed} {name}")
            result: dict[str, Any] = {"files": -(-files // len(found)), "read": 0, "refused": 0, "escapes": 0}
            costs = {"most seconds": 0.0, "most extra bytes": 0.0}
            for i in range(result["files"]):
                path.write_bytes(damaged(content, rng))
                end, seconds, extra = _attempt(read, path)
                result[end] += 1
                costs = {"most seconds": max(costs["most seconds"], seconds),
                         "most extra bytes": max(costs["most extra bytes"], extra)}  # fmt: skip
                if end == "escapes":
                    shutil.copy(path, folder / f"escape {len(results)}-{i} {file_name}")
            results[name] = result | costs
    return results


def _attempt(read: Reader, path: Path) -> tuple[str, float, float]:
    """Read a file; return how it ended, the seconds, and the bytes beyond `TIMES` the size of the file."""
    before, start = _memory(new_peak=True), time.process_time()
    try:
        read(path)
        end = "read"
    except (UserError, SystemExit):
        end = "refused"
    except Exception:
        end = "escapes"
        log.exception("%s", path)
    seconds = time.process_time() - start
    return end, seconds, float(_memory() - before - TIMES * path.stat().st_size)


def _memory(new_peak: bool = False) -> int:
    """Return the most bytes that this process had since the last new peak (Linux only)."""
    if new_peak:
        Path("/proc/self/clear_refs").write_text("5")
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[0])
