"""Read, write and rename learned words in files, for scripts/embeddings.py; without a model."""

import argparse
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ldm.errors import UserError
from ldm.files import write_whole
from ldm.weights.family import OF_WIDTH
from textual_inversion.words.file import LearnedWord, find_file, is_own, load_words, save_words
from textual_inversion.words.formats import a1111, diffusers, diffusers_bin, official

from .shell import script

log = logging.getLogger("embeddings")

LDM_WIDTH = 1280


# The suffixes by which other tools tell how to read a file.
SUFFIXES = {
    "ours": (".safetensors", ""),
    "diffusers": (".safetensors", ".bin"),
    "official": (".pt",),
    "a1111": (".pt",),
}


def write(path: Path, words: Sequence[LearnedWord], form: str | None, overwrite: bool) -> None:
    """Write `words` in one of `embeddings.FORMATS`; None chooses it by the suffix. Raises UserError if the file exists,
    if its suffix is that of another format, or if the format can hold only one word, or none like these."""
    form = form or format_of(path, words)
    layered = next((word.placeholder for word in words if word.layers is not None), None)
    if form != "ours" and layered is not None:
        raise UserError(f"{layered!r} differs between layers, which the format {form} cannot hold: choose ours.")
    if path.suffix.lower() not in SUFFIXES[form]:
        name = path.with_suffix(SUFFIXES[form][0]).name
        raise UserError(f"a file in the format {form} is called {name}, not {path.name}: no tool would read it")
    if path.exists() and not overwrite:
        raise UserError(f"{path} already exists: choose another name, or add --overwrite")
    if form == "ours":
        save_words(path, words)
    elif form == "official":
        write_whole(path, official({word.placeholder: (word.vectors, word.provenance) for word in words}))
    else:
        if len(words) > 1:
            names = ", ".join(word.placeholder for word in words)
            raise UserError(f"a file of {form} holds one word, not {len(words)} ({names}): split them first")
        write_whole(path, _content(form, path, words[0]))
        if form == "diffusers":
            warn_of_capitals(path, words[0])
    log.info("%s: %s", path, ", ".join(word.placeholder for word in words))


def warn_of_capitals(path: Path, word: LearnedWord) -> None:
    """Warn if diffusers does not find all vectors: its tokenizer lower-cases the names that it adds, but then looks for
    vectors after the first under the name as it was."""
    name, count = word.placeholder, len(word.vectors)
    if count > 1 and name != name.lower():
        lower = f"<{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'word'}>"
        log.warning(
            "diffusers uses only the first of the %d vectors of %r, because of its capitals. A name in lower case "
            "keeps all: %s",
            count,
            name,
            script(
                "embeddings",
                "rename",
                str(path),
                name,
                lower,
                "--format",
                "diffusers",
                "--output",
                str(path),
                "--overwrite",
            ),
        )


def _content(form: str, path: Path, word: LearnedWord) -> bytes:
    if form == "a1111":
        return a1111(word.placeholder, word.vectors, word.provenance)
    write_diffusers = diffusers_bin if path.suffix.lower() == ".bin" else diffusers
    return write_diffusers(word.placeholder, word.vectors)


def format_of(path: Path, words: Sequence[LearnedWord]) -> str:
    """Return the format of a file that is to be written, by its suffix. A .pt file with the LDM's words is one of the
    official code, any other is one of the web UI. Raises UserError for a suffix that no format has."""
    match path.suffix.lower():
        case ".safetensors" | "":
            return "ours"
        case ".bin":
            return "diffusers"
        case ".pt":
            return "official" if words[0].width == LDM_WIDTH else "a1111"
    raise UserError(f"{path.name} has no suffix of a file of words: use .safetensors, .bin or .pt")


def with_name(word: LearnedWord, placeholder: str) -> LearnedWord:
    """Return the word under another name. The provenance loses its entry "token", the id of the old name's token."""
    if placeholder == word.placeholder:
        return word
    origin = {key: value for key, value in word.provenance.items() if key != "token"}
    return replace(word, placeholder=placeholder, provenance={**origin, "renamed_from": word.placeholder}, file=None)


def with_free_names(words: Sequence[LearnedWord]) -> list[LearnedWord]:
    """Make names unique: the second "*" becomes "*-2", the third "*-3". Names of other words are skipped."""
    taken: set[str] = set()
    wanted = {word.placeholder for word in words}
    free = []
    for word in words:
        name, n = word.placeholder, 1
        while name in taken or (n > 1 and name in wanted):
            n += 1
            name = f"{word.placeholder}-{n}"
        taken.add(name)
        free.append(with_name(word, name))
    return free


def inspect(args: argparse.Namespace) -> None:
    for path in args.files:
        words = load_words(path)
        log.info("%s", find_file(path))
        for word in words:
            shape = " x ".join(map(str, word.vectors.shape)) + (" and a mapper" if word.mapper else "")
            norms = ", ".join(f"{norm:.3f}" for norm in word.vectors.norm(dim=-1).flatten().tolist())
            log.info("  %s: %s, for %s, norms %s", word.placeholder, shape, word.learned_for, norms)
            for key, value in word.provenance.items():
                text = value if isinstance(value, str) else json.dumps(value)
                log.info("    %s: %s", key, text.rstrip().replace("\n", "\n      "))


def require_another_file(output: Path, *sources: Path) -> None:
    """Raise UserError if `output` is one of the files that are read."""
    for source in map(find_file, sources):
        if output.exists() and output.samefile(source):
            raise UserError(f"{output} already exists, and is the file that is read: choose another name.")


def convert(args: argparse.Namespace) -> None:
    require_another_file(args.output, args.file)
    write(args.output, load_words(args.file), args.format, args.overwrite)


def merge(args: argparse.Namespace) -> None:
    require_another_file(args.output, *args.files)
    words = [(path, word) for path in args.files for word in load_words(path)]
    widths = {word.width: path for path, word in words}
    if len(widths) > 1:
        said = " and ".join(f"{path} ({width}, {OF_WIDTH.get(width, 'unknown')})" for width, path in widths.items())
        raise UserError(f"words of different models cannot share a file: {said}")
    if args.names and len(args.names) != len(words):
        raise UserError(f"--names has {len(args.names)} names for {len(words)} words")
    chosen = args.names or [word.placeholder for _, word in words]
    if args.names and len(set(chosen)) < len(chosen):
        raise UserError(f"--names has a name twice: {' '.join(chosen)}")
    renamed = [with_name(word, name) for (_, word), name in zip(words, chosen, strict=True)]
    write(args.output, with_free_names(renamed), args.format, args.overwrite)


def split(args: argparse.Namespace) -> None:
    suffix = SUFFIXES[args.format or "ours"][0]
    words = load_words(args.file)
    stems = [re.sub(r"[^\w-]+", "_", word.placeholder).strip("_") or f"word{i}" for i, word in enumerate(words)]
    paths = [args.folder / f"{stem}{f'-{i}' if stems.count(stem) > 1 else ''}{suffix}" for i, stem in enumerate(stems)]
    for path, word in zip(paths, words, strict=True):
        write(path, [word], args.format, args.overwrite)


def rename(args: argparse.Namespace) -> None:
    words = load_words(args.file)
    names = [word.placeholder for word in words]
    if args.old not in names:
        raise UserError(f"{args.file} has no word {args.old!r}, only {', '.join(names)}")
    if args.new in names:
        raise UserError(f"{args.file} already has a word {args.new!r}")
    output = args.output or find_file(args.file)
    if args.output is None and (args.format not in (None, "ours") or not is_own(output)):
        raise UserError(
            f"renaming in place would replace {output} by a file in another format: add --output <new file>."
        )
    words = [with_name(word, args.new if word.placeholder == args.old else word.placeholder) for word in words]
    write(output, words, args.format, overwrite=args.overwrite or args.output is None)
