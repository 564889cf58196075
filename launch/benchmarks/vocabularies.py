"""Vocabularies for models with random weights: as large as the published ones, with the words of a small one."""

import json
from collections.abc import Iterable
from pathlib import Path

from ldm.modules.clip_text import FILES, CLIPTextEncoder
from ldm.modules.text import TokenEncoder

# The 256 symbols that stand for bytes in CLIP's vocabulary: printable bytes for themselves, then one for each other.
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
SYMBOLS = [chr(i) for i in (*_PRINTABLE, *range(256, 512 - len(_PRINTABLE)))]
START, END = "<|startoftext|>", "<|endoftext|>"


def write_vocabulary(text: TokenEncoder, words: Path, initializer: str, folder: Path) -> Path:
    """Write a vocabulary for the text encoder `text` to `folder`, with as many pieces as it has embeddings. The
    BERT-style encoder knows the words of the file `words`, CLIP's only the `initializer`. Returns what the encoder
    takes as its `vocabulary`."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(text, CLIPTextEncoder):
        return write_byte_pairs(folder, [initializer], text.vocab_size)
    known = words.read_text(encoding="utf-8").splitlines()
    known += [f"[unused{i}]" for i in range(text.vocab_size - len(known))]
    (folder / "vocab.txt").write_text("\n".join(known) + "\n", encoding="utf-8")
    return folder / "vocab.txt"


def write_byte_pairs(folder: Path, words: Iterable[str], count: int = 0) -> Path:
    """Write CLIP's two files to `folder` and return it. Each of `words`, which share no pair of letters, is one piece.
    Anything else is spelled symbol by symbol. Unused pieces fill the vocabulary up to `count`."""
    pieces = dict.fromkeys([*SYMBOLS, *(f"{symbol}</w>" for symbol in SYMBOLS)])
    merges: dict[str, None] = {}
    for word in words:
        letters = [*word[:-1], word[-1] + "</w>"]
        while len(letters) > 1:
            merges[f"{letters[0]} {letters[1]}"] = None
            letters[:2] = [letters[0] + letters[1]]
            pieces[letters[0]] = None
    unused = [f"<unused{i}>" for i in range(count - len(pieces) - 2)]
    ids = {piece: i for i, piece in enumerate([*pieces, *unused, START, END])}
    for name, content in zip(FILES, (json.dumps(ids), "\n".join(["#version: 0.2", *merges]) + "\n"), strict=True):
        (folder / name).write_text(content, encoding="utf-8")
    return folder
