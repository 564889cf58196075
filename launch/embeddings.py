"""Learned words between files and tools; needs no model.

python scripts/embeddings.py inspect runs/cat_toy/<time>
python scripts/embeddings.py convert embeddings.pt cat.safetensors
python scripts/embeddings.py convert runs/cat_toy/<time> cat.pt --format a1111
python scripts/embeddings.py merge cat.pt owl.bin both.safetensors --names cat owl
python scripts/embeddings.py split both.safetensors folder
python scripts/embeddings.py rename cat.safetensors "S*" "<cat-toy>"
"""

import argparse
import json
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ldm.files import write_whole
from ldm.weights.family import OF_WIDTH
from textual_inversion.words.file import LearnedWord, find_file, load_words, save_words
from textual_inversion.words.formats import a1111, diffusers, official

log = logging.getLogger("embeddings")

FORMATS = ("ours", "official", "a1111", "diffusers")


def write(path: Path, words: Sequence[LearnedWord], form: str, overwrite: bool) -> None:
    """Writes `words` in a format of `FORMATS`. Raises ValueError if the file is there already, or if the format holds
    one word only."""
    if path.exists() and not overwrite:
        raise ValueError(f"{path} is there already: choose another name, or add --overwrite")
    if form == "ours":
        save_words(path, words)
    elif form == "official":
        write_whole(path, official({word.placeholder: (word.vectors, word.provenance) for word in words}))
    else:
        if len(words) > 1:
            names = ", ".join(word.placeholder for word in words)
            raise ValueError(f"a file of {form} holds one word, here are {names}: split them first")
        (word,) = words
        name, vectors = word.placeholder, word.vectors
        content = a1111(name, vectors, word.provenance) if form == "a1111" else diffusers(name, vectors)
        write_whole(path, content)
    log.info("%s: %s", path, ", ".join(word.placeholder for word in words))


def with_name(word: LearnedWord, placeholder: str) -> LearnedWord:
    """The word under another name; the number of the old name's token goes with it."""
    if placeholder == word.placeholder:
        return word
    origin = {key: value for key, value in word.provenance.items() if key != "token"}
    return LearnedWord(placeholder, word.vectors, {**origin, "renamed_from": word.placeholder})


def with_free_names(words: Sequence[LearnedWord]) -> list[LearnedWord]:
    """The second "*" becomes "*-2", the third "*-3"; names that other words have already are passed over."""
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
            k, width = word.vectors.shape
            model = word.provenance.get("model") or OF_WIDTH.get(width, "an unknown model")
            norms = ", ".join(f"{norm:.3f}" for norm in word.vectors.norm(dim=1).tolist())
            log.info("  %s: %d x %d, for %s, norms %s", word.placeholder, k, width, model, norms)
            for key, value in word.provenance.items():
                text = value if isinstance(value, str) else json.dumps(value)
                log.info("    %s: %s", key, text.rstrip().replace("\n", "\n      "))


def convert(args: argparse.Namespace) -> None:
    write(args.output, load_words(args.file), args.format, args.overwrite)


def merge(args: argparse.Namespace) -> None:
    words = [(path, word) for path in args.files for word in load_words(path)]
    widths = {word.vectors.shape[1]: path for path, word in words}
    if len(widths) > 1:
        said = " and ".join(f"{path} ({width}, {OF_WIDTH.get(width, 'unknown')})" for width, path in widths.items())
        raise ValueError(f"words of different models cannot share a file: {said}")
    if args.names and len(args.names) != len(words):
        raise ValueError(f"--names gives {len(args.names)} names for {len(words)} words")
    chosen = args.names or [word.placeholder for _, word in words]
    if args.names and len(set(chosen)) < len(chosen):
        raise ValueError(f"--names gives a name twice: {' '.join(chosen)}")
    renamed = [with_name(word, name) for (_, word), name in zip(words, chosen, strict=True)]
    write(args.output, with_free_names(renamed), args.format, args.overwrite)


def split(args: argparse.Namespace) -> None:
    suffix = "pt" if args.format in ("official", "a1111") else "safetensors"
    words = load_words(args.file)
    stems = [re.sub(r"[^\w-]+", "_", word.placeholder).strip("_") or f"word{i}" for i, word in enumerate(words)]
    paths = [args.folder / f"{stem}{f'-{i}' if stems.count(stem) > 1 else ''}.{suffix}" for i, stem in enumerate(stems)]
    for path, word in zip(paths, words, strict=True):
        write(path, [word], args.format, args.overwrite)


def rename(args: argparse.Namespace) -> None:
    words = load_words(args.file)
    names = [word.placeholder for word in words]
    if args.old not in names:
        raise ValueError(f"{args.file} has no word {args.old!r}, only {', '.join(names)}")
    if args.new in names:
        raise ValueError(f"{args.file} has a word {args.new!r} already")
    output = args.output or find_file(args.file)
    words = [with_name(word, args.new if word.placeholder == args.old else word.placeholder) for word in words]
    write(output, words, args.format, overwrite=args.overwrite or args.output is None)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(required=True, metavar="command")

    def add(function, help_text: str, *arguments: tuple[str, dict], writes: bool = True) -> None:
        command = commands.add_parser(function.__name__, help=help_text)
        for name, options in arguments:
            command.add_argument(name, **options)
        if writes:
            command.add_argument("--format", choices=FORMATS, default="ours", help="of the file that is written")
            command.add_argument("--overwrite", action="store_true", help="replace a file that is there already")
        command.set_defaults(run=function)

    file = ("file", {"type": Path, "help": "a file of learned words, or a run folder"})
    files = ("files", {"type": Path, "nargs": "+", "help": "files of learned words, or run folders"})
    output = ("output", {"type": Path})
    add(inspect, "what is in files", files, writes=False)
    add(convert, "from any format to another", file, output)
    names = ("--names", {"nargs": "+", "help": "what to call the words, in their order; else equal names get a number"})
    add(merge, "several files into one", files, output, names)
    add(split, "one file a word", file, ("folder", {"type": Path}))
    new_file = ("--output", {"type": Path, "help": "leave the file as it is and write this one"})
    add(rename, "call a word something else", file, ("old", {}), ("new", {}), new_file)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except ValueError as error:
        log.error("error: %s", error)
        return 1
    return 0
