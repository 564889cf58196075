"""The learned words that the page offers: those of all run folders. They are named by texts that the page has made."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ldm.errors import UserError
from ldm.files import relative
from textual_inversion.words.file import FILE_NAME, LearnedWord, load_words
from textual_inversion.words.formats import STAR

from ..word_files import with_free_names, with_name, write

DEPTH = 4  # folders below those that are searched
# What a person reads -> the format and the suffix of the file
FORMATS = {
    "this project (.safetensors)": ("ours", ".safetensors"),
    "diffusers (.safetensors)": ("diffusers", ".safetensors"),
    "diffusers (.bin)": ("diffusers", ".bin"),
    "web UI of AUTOMATIC1111 (.pt)": ("a1111", ".pt"),
    "the paper's code (.pt)": ("official", ".pt"),
}


class Words:
    """The words in the run folders below `folders` that fit a model of `width`."""

    def __init__(self, folders: Sequence[Path], width: int) -> None:
        self.folders, self.width = list(folders), width
        self._read: dict[tuple[Path, int], tuple[LearnedWord, ...]] = {}  # (file, time of its last change)

    def all(self) -> dict[str, LearnedWord]:
        """Return label -> word, the newest first. Files that cannot be read are left out."""
        patterns = ["*/" * depth + FILE_NAME for depth in range(1, DEPTH + 1)]
        files = {file for folder in self.folders for pattern in patterns for file in folder.glob(pattern)}
        changed = {file: file.stat().st_mtime_ns for file in files}
        newest = sorted(changed, key=lambda file: changed[file], reverse=True)
        return {
            f"{word.placeholder} ({relative(file.parent)})": word
            for file in newest
            for word in self._words(file, changed[file])
        }

    def _words(self, file: Path, changed: int) -> tuple[LearnedWord, ...]:
        if (file, changed) not in self._read:
            try:
                self._read[file, changed] = load_words(file, self.width)
            except UserError:
                self._read[file, changed] = ()
        return self._read[file, changed]

    def find(self, labels: Sequence[str]) -> list[LearnedWord]:
        """Return the words with these labels; the second of two with one name is called name-2. Raises UserError for a
        label that is none."""
        known = self.all()
        if missing := [label for label in labels if label not in known]:
            raise UserError(f"There is no word {missing[0]!r}: load the page again.")
        return with_free_names([known[label] for label in labels])


def write_for(word: LearnedWord, form: str, folder: Path) -> Path:
    """Write the word in one of `FORMATS` to a new folder in `folder` and return the file. The paper's code knows no
    other name than *."""
    if form not in FORMATS:
        raise UserError(f"There is no format {form!r}.")
    name, suffix = FORMATS[form]
    stem = re.sub(r"[^a-zA-Z0-9]+", "-", word.placeholder).strip("-") or "word"
    path = Path(tempfile.mkdtemp(dir=folder)) / f"{stem}{suffix}"
    write(path, [with_name(word, STAR) if name == "official" else word], name, overwrite=False)
    return path
