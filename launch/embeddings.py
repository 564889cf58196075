"""Inspect, convert, merge, split, rename and share learned words, without a model.

python scripts/embeddings.py inspect runs/cat_toy/<time>
python scripts/embeddings.py convert embeddings.pt cat.safetensors
python scripts/embeddings.py convert runs/cat_toy/<time> cat.pt --format a1111
python scripts/embeddings.py merge cat.pt owl.bin both.safetensors --names cat owl
python scripts/embeddings.py split both.safetensors folder
python scripts/embeddings.py rename cat.safetensors "S*" "<cat-toy>"
python scripts/embeddings.py card runs/cat_toy/<time> cat-toy --license mit
python scripts/embeddings.py push cat-toy <user>/cat-toy
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from . import failures
from .shell import PRINTABLE, with_commands

log = logging.getLogger("embeddings")

FORMATS = ("ours", "official", "a1111", "diffusers")


def parser() -> argparse.ArgumentParser:
    style = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(description=with_commands(__doc__ or ""), formatter_class=style)
    commands = top.add_subparsers(required=True, metavar="command")

    def add(
        name: str, help_text: str, *arguments: tuple[str, dict], writes: bool = True, module: str = "word_files"
    ) -> None:
        command = commands.add_parser(name, help=help_text)
        for argument, options in arguments:
            command.add_argument(argument, **options)
        if writes:
            command.add_argument(
                "--format", choices=FORMATS, help="format of the written file; without it, that of its suffix"
            )
            command.add_argument("--overwrite", action="store_true", help="replace a file that already exists")
        command.set_defaults(run=name, module=module)

    file = ("file", {"type": Path, "help": "a file of learned words, or a run folder"})
    files = ("files", {"type": Path, "nargs": "+", "help": "files of learned words, or run folders"})
    output = ("output", {"type": Path})
    add("inspect", "show the words in files", files, writes=False)
    add("convert", "convert a file to another format", file, output)
    names = (
        "--names",
        {"nargs": "+", "help": "new names of the words, in order; without them, equal names get a number"},
    )
    add("merge", "merge several files into one", files, output, names)
    add("split", "write one file per word", file, ("folder", {"type": Path}))
    new_file = ("--output", {"type": Path, "help": "write this file and leave the original unchanged"})
    add("rename", "rename a word", file, ("old", {}), ("new", {}), new_file)
    _add_sharing(add)
    return top


def _add_sharing(add: Callable[..., None]) -> None:
    file = ("file", {"type": Path, "help": "a file of one learned word, or a run folder"})
    folder = ("folder", {"type": Path, "help": "a new folder"})
    license_name = ("--license", {"default": "unknown", "help": "of the word, by its name on the hub, such as mit"})
    pictures = (
        "--pictures",
        {"nargs": "+", "type": Path, "help": "pictures for the card; without them, the contact sheet of the run"},
    )
    base = ("--base-model", {"help": "<user>/<name> of the model on the hub; without it, the published one is named"})
    add(
        "card",
        "write a folder for the hub's library of concepts",
        file,
        folder,
        license_name,
        pictures,
        base,
        writes=False,
        module="sharing",
    )
    made = ("folder", {"type": Path, "help": "a folder that card wrote"})
    repository = ("repository", {"help": "<user>/<name> on the hub"})
    private = ("--private", {"action": "store_true", "help": "only you see a new repository"})
    add("push", "upload such a folder with your token", made, repository, private, writes=False, module="sharing")


def main(arguments: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    logging.getLogger().handlers[0].addFilter(PRINTABLE)
    with failures.reported():
        failures.require_current_folder()
    args = parser().parse_args(arguments)
    try:
        # Here, not above: it imports torch, which takes seconds and which --help does without.
        getattr(import_module(f".{args.module}", __package__), args.run)(args)
    except Exception as error:
        failures.report(error, log.error)
        return 1
    return 0
