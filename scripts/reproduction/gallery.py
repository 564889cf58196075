"""Figures that are looked at (figures 3, 4, 6, 7, 8 and 9 of the paper), each with numbers for what the eye sees."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ldm.callbacks import to_uint8
from ldm.data import to_tensor
from textual_inversion import plots
from textual_inversion.blended import edit
from textual_inversion.captions import fill
from textual_inversion.claims import Verdict
from textual_inversion.contact_sheet import Row
from textual_inversion.embedding_file import LearnedWord
from textual_inversion.evaluation import Evaluation
from textual_inversion.generation import manager_of
from textual_inversion.metrics import image_similarity
from textual_inversion.subjects import Captions, Material, Word, without_word

from .cells import CellFailed, Grid, commit
from .report import Claim, test, write_table

Table = list[dict[str, Any]]


def _finish(
    folder: Path, name: str, rows: Sequence[Row], table: Table, claims: Sequence[Mapping[str, Any]]
) -> list[Verdict]:
    plots.sheet(folder / name, rows)
    write_table(folder / f"{name}.csv", [line | {"commit": commit()} for line in table])
    return [verdict for claim in claims if (verdict := test(Claim(**claim), table)) is not None]


def _likeness(evaluation: Evaluation, painted: Tensor, images: np.ndarray) -> float:
    return image_similarity(evaluation.embed(painted), evaluation.embed(to_tensor(images)))


def variations(
    grid: Grid, folder: Path, concepts: Sequence[str], seeds: Sequence[int], samples: int,
    name: str, prompt: str, claims: Sequence[Mapping[str, Any]],
) -> list[Verdict]:  # fmt: skip
    """Figure 3: the word beside what a long caption gives."""
    rows, table = [], []
    for concept, word in grid.learned(concepts, seeds[0]).items():
        painter, evaluation, images = grid.studio(concept, seeds[0])
        material = Material(painter, word, grid.pictures / concept, images)
        shown, captions = [images[:2]], ["training pictures", ""]
        for row, subject in (("word", Word(material)), ("long caption", Captions(material, "long.txt"))):
            painted = subject.paint(prompt, range(samples))
            shown.append(to_uint8(painted))
            captions += [row, *[""] * (samples - 1)]
            likeness = _likeness(evaluation, painted, images)
            table.append({"row": row, "concept": concept, "image_similarity": likeness})
        rows.append(Row(concept, np.concatenate(shown), captions))
    return _finish(folder, name, rows, table, claims)


def synthesis(
    grid: Grid, folder: Path, concepts: Sequence[str], seeds: Sequence[int], candidates: int,
    name: str, plain: str, prompts: Sequence[str], claims: Sequence[Mapping[str, Any]],
) -> list[Verdict]:  # fmt: skip
    """Figure 4: the word in new sentences, of `candidates` the one that CLIP finds nearest the sentence, as the paper
    chooses its pictures. The numbers are those of all candidates."""
    rows, table = [], []
    for concept, word in grid.learned(concepts, seeds[0]).items():
        painter, evaluation, images = grid.studio(concept, seeds[0])
        subject = Word(Material(painter, word, grid.pictures / concept, images))
        photos = evaluation.embed(subject.paint(plain, range(candidates)))
        texts = evaluation.evaluator.embed_texts([without_word(prompt) for prompt in prompts]).cpu()
        best, cosines = [images[0]], {"asked for": [], "plain photo": []}
        for prompt, text in zip(prompts, texts, strict=True):
            painted = subject.paint(prompt, range(candidates))
            found = evaluation.embed(painted) @ text
            best.append(to_uint8(painted)[int(found.argmax())])
            cosines["asked for"].append(float(found.mean()))
            cosines["plain photo"].append(float((photos @ text).mean()))
        rows.append(Row(concept, np.stack(best), ["training picture", *(fill(p, "S*") for p in prompts)]))
        table += [{"row": row, "concept": concept, "text_similarity": np.mean(v)} for row, v in cosines.items()]
    return _finish(folder, name, rows, table, claims)


def style(
    grid: Grid, folder: Path, seeds: Sequence[int], samples: int,
    name: str, styles: Sequence[str], prompts: Sequence[str], without: Sequence[str],
    claims: Sequence[Mapping[str, Any]],
) -> list[Verdict]:  # fmt: skip
    """Figure 6: a learned style on other things; `without` are the same sentences that name no style."""
    rows, table = [], []
    for concept, word in grid.learned(styles, seeds[0]).items():
        painter, evaluation, images = grid.studio(concept, seeds[0])
        subject = Word(Material(painter, word, grid.pictures / concept, images))
        styled = torch.cat([subject.paint(prompt, range(1)) for prompt in prompts])
        rows += [Row(f"{concept}: training pictures", images[:samples])]
        rows += [Row("in the style of S*", to_uint8(styled), list(without))]
        for row, painted in (("styled", styled), ("plain", painter(without, 0))):
            table.append({"row": row, "concept": concept, "image_similarity": _likeness(evaluation, painted, images)})
    return _finish(folder, name, rows, table, claims)


def composition(
    grid: Grid, folder: Path, seeds: Sequence[int], samples: int,
    name: str, pairs: Sequence[Mapping[str, str]], claims: Sequence[Mapping[str, Any]],
) -> list[Verdict]:  # fmt: skip
    """Figure 7: two words that were learned apart in one sentence, {a} and {b}; `shows` is what the pictures must show,
    label -> value. Of each pair `kind` is "style", which works, or "relation", which fails."""
    concepts = dict.fromkeys(concept for pair in pairs for concept in (pair["a"], pair["b"]))
    words = grid.learned(list(concepts), seeds[0])
    rows, table = [], []
    for pair in pairs:
        if pair["a"] not in words or pair["b"] not in words:
            continue
        painter, evaluation, _ = grid.studio(pair["a"], seeds[0])
        both = [LearnedWord(letter, words[pair[name]].vectors) for letter, name in (("S_a", "a"), ("S_b", "b"))]
        prompt = pair["prompt"].format(a="S_a", b="S_b")
        painted = painter([prompt] * samples, 0, manager_of(painter.ldm, both))
        title = f"{prompt}: S_a is {pair['a']}, S_b is {pair['b']}"
        rows.append(Row(title, to_uint8(painted)))
        right = all_shown(evaluation, painted, pair["shows"])
        number = sum(line["row"] == pair["kind"] for line in table)
        table.append(
            {"row": pair["kind"], "concept": f"pair {number}", "words": title, "obeyed": float(np.mean(right))}
        )
    return _finish(folder, name, rows, table, claims)


def all_shown(evaluation: Evaluation, painted: Tensor, shows: Any) -> list[bool]:
    """For each picture whether the classifier sees every one of these labels' values."""
    if evaluation.classifier is None:
        raise CellFailed("this figure needs a classifier that knows the world: it is Toyland's alone.")
    seen = evaluation.classifier.names(painted)
    return [all(seen[label][i] == value for label, value in shows.items()) for i in range(len(painted))]


def bias(
    grid: Grid, folder: Path, seeds: Sequence[int], samples: int,
    name: str, concept: str, word: str, prompt: str, pictures: int, look: Mapping[str, str],
    labels: Sequence[str], claims: Sequence[Mapping[str, Any]],
) -> list[Verdict]:  # fmt: skip
    """Figure 8: what `word` looks like before, and after S* was learned from a small balanced set. `look` is the common
    one; each sample counts, both are painted from the same noise."""
    (learned,) = grid.learned([concept], seeds[0]).values()
    painter, evaluation, images = grid.studio(concept, seeds[0])
    before = painter([fill(prompt, f"a {word}")] * pictures, 0)
    after = Word(Material(painter, learned, grid.pictures / concept, images)).paint(prompt, range(pictures))
    rows, table, shares = [Row("training pictures", images[:samples])], [], {}
    for row, painted in ((f'"{word}"', before), ("S*", after)):
        rows.append(Row(f"{row}, not chosen", to_uint8(painted[:samples])))
        common = all_shown(evaluation, painted, look)
        seen = evaluation.classifier.names(painted) if evaluation.classifier else {}
        shares[row] = {
            f"{label} {value}": float(np.mean([one == value for one in seen[label]]))
            for label in labels
            for value in sorted(set(evaluation.classifier.labels[label] if evaluation.classifier else ()))
        }
        key = "before" if row != "S*" else "after"
        table += [{"row": key, "concept": f"sample {i}", "common_look": float(c)} for i, c in enumerate(common)]
    plots.bars(folder / f"{name}_looks", shares, "share of pictures")
    return _finish(folder, name, rows, table, claims)


def blended(
    grid: Grid, folder: Path, concepts: Sequence[str], seeds: Sequence[int], samples: int,
    name: str, scene: str, prompt: str, box: Sequence[float], claims: Sequence[Mapping[str, Any]],
) -> list[Verdict]:  # fmt: skip
    """Figure 9: S* is painted into a picture of `scene`, in `box` (left, top, right, bottom as shares of the side) and
    nowhere else."""
    rows, table = [], []
    for concept, word in grid.learned(concepts, seeds[0]).items():
        painter, evaluation, images = grid.studio(concept, seeds[0])
        source = painter([scene], 0)
        x, side = to_uint8(source)[0], source.shape[-1]
        left, top, right, bottom = (round(share * side) for share in box)
        mask = np.zeros((side, side), dtype=bool)
        mask[top:bottom, left:right] = True
        edits = edit(painter, [fill(prompt, word.placeholder)] * samples, manager_of(painter.ldm, [word]), x, mask)
        shown = np.where(mask[..., None], x // 2 + 64, x)
        rows.append(Row(f"{concept}: picture, mask, edits", np.stack([x, shown, *to_uint8(edits)])))
        for row, painted in (("before", to_tensor(x[None])), ("after", edits)):
            crop = painted[..., top:bottom, left:right]
            table.append({"row": row, "concept": concept, "image_similarity": _likeness(evaluation, crop, images)})
    return _finish(folder, name, rows, table, claims)
