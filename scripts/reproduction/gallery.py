"""Figures that are looked at (figures 3, 4, 6, 7, 8 and 9 of the paper), each with numbers for what the eye sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ldm.callbacks import to_uint8
from ldm.data import to_tensor
from textual_inversion import plots
from textual_inversion.blended import edit
from textual_inversion.captions import fill
from textual_inversion.claims import Verdict
from textual_inversion.classifier import AttributeClassifier
from textual_inversion.contact_sheet import Row
from textual_inversion.embedding_file import LearnedWord
from textual_inversion.generation import manager_of
from textual_inversion.metrics import text_similarity
from textual_inversion.subjects import Captions, Word, without_word

from .cells import CellFailed, Grid, commit
from .report import judge, write_table

Table = list[dict[str, Any]]


@dataclass(frozen=True)
class Gallery:
    """The figure's name, and what the paper claims of it (the fields of a `report.Claim` each)."""

    name: str
    claims: Sequence[Mapping[str, Any]]

    def hang(self, folder: Path, rows: Sequence[Row], table: Table) -> list[Verdict]:
        """Writes the figure and its numbers."""
        plots.sheet(folder / self.name, rows)
        write_table(folder / f"{self.name}.csv", [line | {"commit": commit()} for line in table])
        return judge(self.claims, table)


def variations(
    grid: Grid, folder: Path, concepts: Sequence[str], seeds: Sequence[int], gallery: Gallery,
    prompt: str, samples: int,
) -> list[Verdict]:  # fmt: skip
    """Figure 3: the word beside what a long caption gives."""
    rows, table = [], []
    for concept, studio in grid.studios(concepts, seeds[0]).items():
        shown, captions = [studio.material.images[:2]], ["training pictures", ""]
        for row, subject in (("word", Word(studio.material)), ("long caption", Captions(studio.material, "long.txt"))):
            painted = subject.paint(prompt, range(samples))
            shown.append(to_uint8(painted))
            captions += [row, *[""] * (samples - 1)]
            line = {"row": row, "concept": concept, "image_similarity": studio.likeness(painted)}
            table.append(line | {"config": studio.config})
        rows.append(Row(concept, np.concatenate(shown), captions))
    return gallery.hang(folder, rows, table)


def synthesis(
    grid: Grid, folder: Path, concepts: Sequence[str], seeds: Sequence[int], gallery: Gallery,
    candidates: int, plain: str, prompts: Sequence[str],
) -> list[Verdict]:  # fmt: skip
    """Figure 4: the word in new sentences, of `candidates` the one that CLIP finds nearest the sentence, as the paper
    chooses its pictures. The numbers are those of all candidates, beside those of a `plain` photo."""
    rows, table = [], []
    for concept, studio in grid.studios(concepts, seeds[0]).items():
        subject, evaluation = Word(studio.material), studio.evaluation
        photos = evaluation.embed(subject.paint(plain, range(candidates)))
        texts = evaluation.evaluator.embed_texts([without_word(prompt) for prompt in prompts]).cpu()
        best, similarities = [studio.material.images[0]], {"asked for": [], "plain photo": []}
        for prompt, text in zip(prompts, texts, strict=True):
            painted = subject.paint(prompt, range(candidates))
            embeddings = evaluation.embed(painted)
            best.append(to_uint8(painted)[int((embeddings @ text).argmax())])
            similarities["asked for"].append(text_similarity(embeddings, text))
            similarities["plain photo"].append(text_similarity(photos, text))
        rows.append(Row(concept, np.stack(best), ["training picture", *(fill(p, "S*") for p in prompts)]))
        for row, values in similarities.items():
            line = {"row": row, "concept": concept, "text_similarity": float(np.mean(values))}
            table.append(line | {"config": studio.config})
    return gallery.hang(folder, rows, table)


def style(
    grid: Grid, folder: Path, seeds: Sequence[int], gallery: Gallery,
    styles: Sequence[str], prompts: Sequence[str], without: Sequence[str],
) -> list[Verdict]:  # fmt: skip
    """Figure 6: a learned style on other things; `without` are the same sentences without it, painted from the same
    noise."""
    rows, table = [], []
    for concept, studio in grid.studios(styles, seeds[0]).items():
        subject = Word(studio.material)
        styled = torch.cat([subject.paint(prompt, range(i, i + 1)) for i, prompt in enumerate(prompts)])
        rows += [Row(f"{concept}: training pictures", studio.material.images[: len(prompts)])]
        rows += [Row("in the style of S*", to_uint8(styled), list(without))]
        for row, painted in (("styled", styled), ("plain", studio.painter(without, 0))):
            line = {"row": row, "concept": concept, "image_similarity": studio.likeness(painted)}
            table.append(line | {"config": studio.config})
    return gallery.hang(folder, rows, table)


def composition(
    grid: Grid, folder: Path, seeds: Sequence[int], gallery: Gallery,
    samples: int, pictures: int, pairs: Sequence[Mapping[str, Any]],
) -> list[Verdict]:  # fmt: skip
    """Figure 7: two words that were learned apart in one sentence, {a} and {b}; `shows` is what the pictures must show,
    label -> value. Of each pair `kind` is "style", which works, or "relation", which fails. Pictures of the same noise
    are compared, `pictures` of each pair."""
    concepts = dict.fromkeys(concept for pair in pairs for concept in (pair["a"], pair["b"]))
    classifier = classifier_of(grid)
    studios = grid.studios(list(concepts), seeds[0])
    rows, table = [], []
    for pair in pairs:
        if pair["a"] not in studios or pair["b"] not in studios:
            continue
        a, b = studios[pair["a"]], studios[pair["b"]]
        both = [LearnedWord("S_a", a.word.vectors), LearnedWord("S_b", b.word.vectors)]
        prompt = pair["prompt"].format(a="S_a", b="S_b")
        painted = a.painter([prompt] * pictures, 0, manager_of(a.painter.ldm, both))
        title = f"{prompt}: S_a is {pair['a']}, S_b is {pair['b']}"
        rows.append(Row(title, to_uint8(painted[:samples])))
        seen = classifier.names(painted)
        for i in range(pictures):
            obeyed = float(all_shown(seen, pair["shows"], i))
            line = {"row": pair["kind"], "concept": f"sample {i}", "words": title, "obeyed": obeyed}
            table.append(line | {"config": f"{a.config} {b.config}"})
    return gallery.hang(folder, rows, table)


def classifier_of(grid: Grid) -> AttributeClassifier:
    """Who tells what pictures show. Raises CellFailed if nobody does: before anything is learned."""
    classifier = grid.judge().classifier
    if classifier is None:
        raise CellFailed("this figure needs a classifier that knows the world: it is Toyland's alone.")
    return classifier


def all_shown(seen: Mapping[str, Sequence[str]], shows: Mapping[str, str], i: int) -> bool:
    """Whether picture i shows every one of these labels' values, of what is `seen` in all pictures."""
    return all(seen[label][i] == value for label, value in shows.items())


def bias(
    grid: Grid, folder: Path, seeds: Sequence[int], gallery: Gallery,
    concept: str, word: str, prompt: str, samples: int, pictures: int, look: Mapping[str, str],
) -> list[Verdict]:  # fmt: skip
    """Figure 8: what `word` looks like before, and after S* was learned from a small balanced set. `look` is the common
    one. Samples are compared that are painted from the same noise and show a `word` in both."""
    classifier = classifier_of(grid)
    (studio,) = grid.studios([concept], seeds[0]).values()
    painted = {
        "before": studio.painter([fill(prompt, f"a {word}")] * pictures, 0),
        "after": Word(studio.material).paint(prompt, range(pictures)),
    }
    seen = {row: classifier.names(images) for row, images in painted.items()}
    rows, table, looks = [Row("training pictures", studio.material.images[:samples])], [], []
    for row, images in painted.items():
        rows.append(Row(f"{row}, not chosen", to_uint8(images[:samples])))
        those = [i for i in range(pictures) if all(each["class"][i] == word for each in seen.values())]
        for i in those:
            line = {"row": row, "concept": f"sample {i}", "common_look": float(all_shown(seen[row], look, i))}
            table.append(line | {"config": studio.config})
        for label in look:
            for value in sorted(set(seen["before"][label] + seen["after"][label])):
                share = float(np.mean([seen[row][label][i] == value for i in those])) if those else 0.0
                looks.append({"row": row, "look": f"{label} {value}", "share": share, "config": studio.config})
    shares = {row: {line["look"]: line["share"] for line in looks if line["row"] == row} for row in painted}
    plots.bars(folder / f"{gallery.name}_looks", shares, "share of pictures")
    write_table(folder / f"{gallery.name}_looks.csv", [line | {"commit": commit()} for line in looks])
    return gallery.hang(folder, rows, table)


def blended(
    grid: Grid, folder: Path, concepts: Sequence[str], seeds: Sequence[int], gallery: Gallery,
    scene: str, prompt: str, samples: int, box: Sequence[float],
) -> list[Verdict]:  # fmt: skip
    """Figure 9: S* is painted into a picture of `scene`, in `box` (left, top, right, bottom as shares of the side) and
    nowhere else."""
    rows, table = [], []
    for concept, studio in grid.studios(concepts, seeds[0]).items():
        painter, word = studio.painter, studio.word
        x = to_uint8(painter([scene], samples))[0]  # the edits take the noise before
        left, top, right, bottom = (round(share * len(x)) for share in box)
        mask = np.zeros(x.shape[:2], dtype=bool)
        mask[top:bottom, left:right] = True
        prompts = [fill(prompt, word.placeholder)] * samples
        edits = edit(painter, prompts, manager_of(painter.ldm, [word]), x, mask)
        shown = np.where(mask[..., None], x // 2 + 64, x)
        rows.append(Row(f"{concept}: picture, mask, edits", np.stack([x, shown, *to_uint8(edits)])))
        for row, painted in (("before", to_tensor(x[None])), ("after", edits)):
            likeness = studio.likeness(painted[..., top:bottom, left:right])
            line = {"row": row, "concept": concept, "image_similarity": likeness}
            table.append(line | {"config": studio.config})
    return gallery.hang(folder, rows, table)
