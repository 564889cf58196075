"""Figures that are looked at (figures 3, 4, 6, 7, 8 and 9 of the paper), each with numbers for what the eye sees."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ldm.images import to_tensor, to_uint8
from textual_inversion.blended import edit
from textual_inversion.captions import fill
from textual_inversion.evaluation.claims import Verdict
from textual_inversion.evaluation.classifier import AttributeClassifier
from textual_inversion.evaluation.metrics import text_similarity
from textual_inversion.evaluation.subjects import Captions, Word, without_word
from textual_inversion.figures import plots, sheets
from textual_inversion.figures.sheets import Row
from textual_inversion.generation import manager_of
from textual_inversion.words.file import LearnedWord
from toyland.captions import with_article

from .cells import Grid, Studio, commit
from .hashes import combined
from .report import Figure, write_table

Table = list[dict[str, Any]]


def line(figure: Figure, studio: Studio, *others: Studio, **numbers: Any) -> dict[str, Any]:
    """One line of the figure's table, and what it was made with."""
    config = combined(figure.settings, studio.config, *(other.config for other in others))
    return numbers | {"config": config, "commit": commit(), "word_commit": studio.commit}


def hung(figure: Figure, rows: Sequence[Row], table: Table) -> list[Verdict]:
    """Writes the figure and its numbers."""
    sheets.save_figure(figure.path, rows)
    return figure.judged(table)


def painting(studios: Mapping[str, Studio]) -> Iterable[tuple[str, Studio]]:
    """Each in turn, with the time left."""
    return tqdm(studios.items(), desc="painting", unit="concept")


def mean_text_similarity(embeddings: Iterable[Tensor], texts: Iterable[Tensor]) -> float:
    """Mean text similarity of the pictures [n, d] of each text with it, [d]."""
    return float(np.mean([text_similarity(x, text) for x, text in zip(embeddings, texts, strict=True)]))


def variations(
    grid: Grid, figure: Figure, concepts: Sequence[str], seeds: Sequence[int],
    prompt: str, samples: int, pictures: int,
) -> list[Verdict]:  # fmt: skip
    """Figure 3: the word beside what a long caption gives."""
    rows, table = [], []
    for concept, studio in painting(grid.studios(concepts, seeds[0])):
        shown, captions = [studio.material.images[:2]], ["training pictures", ""]
        for row, subject in (("word", Word(studio.material)), ("long caption", Captions(studio.material, "long.txt"))):
            painted = subject.paint([prompt], range(pictures))
            shown.append(to_uint8(painted[:samples]))
            captions += [row, *[""] * (samples - 1)]
            likeness = studio.likeness(studio.evaluation.embed(painted))
            table.append(line(figure, studio, row=row, concept=concept, image_similarity=likeness))
        rows.append(Row(concept, np.concatenate(shown), captions))
    return hung(figure, rows, table)


def synthesis(
    grid: Grid, figure: Figure, concepts: Sequence[str], seeds: Sequence[int],
    candidates: int, plain: str, prompts: Sequence[str],
) -> list[Verdict]:  # fmt: skip
    """Figure 4: the word in new sentences, of `candidates` the one that CLIP finds nearest the sentence, as the paper
    chooses its pictures. The numbers are those of all candidates, beside those of a `plain` photo, and of the coarse
    word in the same sentences."""
    rows, table = [], []
    for concept, studio in painting(grid.studios(concepts, seeds[0])):
        subject, evaluation = Word(studio.material), studio.evaluation
        photos = evaluation.embed(subject.paint([plain], range(candidates)))
        texts = evaluation.evaluator.embed_texts([without_word(prompt) for prompt in prompts]).cpu()
        best, asked = [studio.material.images[0]], []
        painted = subject.paint(prompts, range(candidates)).split(candidates)
        for pictures, text in zip(painted, texts, strict=True):
            asked.append(evaluation.embed(pictures))
            best.append(to_uint8(pictures)[int((asked[-1] @ text).argmax())])
        coarse = studio.painter([fill(prompt, studio.coarse) for prompt in prompts], range(candidates))
        rows.append(Row(concept, np.stack(best), ["training picture", *(fill(p, "S*") for p in prompts)]))
        numbers = {
            "asked for": {
                "text_similarity": mean_text_similarity(asked, texts),
                "image_similarity": studio.likeness(torch.cat(asked)),
            },
            "plain photo": {"text_similarity": mean_text_similarity([photos] * len(texts), texts)},
            "coarse word": {"image_similarity": studio.likeness(evaluation.embed(coarse))},
        }
        table += [line(figure, studio, row=row, concept=concept, **found) for row, found in numbers.items()]
    return hung(figure, rows, table)


def style(
    grid: Grid, figure: Figure, seeds: Sequence[int],
    styles: Sequence[str], prompts: Sequence[str], without: Sequence[str], things: Sequence[Mapping[str, str]],
    samples: int,
) -> list[Verdict]:  # fmt: skip
    """Figure 6: a learned style on other things; `without` are the same sentences without it, painted from the same
    noise, `samples` of each. Who only repaints the training pictures is no nearer the sentences than these are. The
    classifier counts the pictures that show the `things` of their sentences, label -> value."""
    classifier = grid.classifier
    rows, table = [], []
    for concept, studio in painting(grid.studios(styles, seeds[0])):
        subject, evaluation = Word(studio.material), studio.evaluation
        painted = {
            "styled": subject.paint(prompts, range(samples)).split(samples),
            "plain": studio.painter(without, range(samples)).split(samples),
        }
        rows += [Row(f"{concept}: training pictures", studio.material.images[: len(prompts)])]
        rows += [Row("in the style of S*", to_uint8(torch.stack([x[0] for x in painted["styled"]])), list(without))]
        texts = evaluation.evaluator.embed_texts(list(without)).cpu()
        for row, of_each in painted.items():
            found = [evaluation.embed(x) for x in of_each]
            numbers = {
                "image_similarity": studio.likeness(torch.cat(found)),
                "text_similarity": mean_text_similarity(found, texts),
            }
            if classifier is not None:
                shown = [share_that_shows(classifier, x, each) for x, each in zip(of_each, things, strict=True)]
                numbers |= {"things_shown": float(np.mean(shown))}
            table.append(line(figure, studio, row=row, concept=concept, **numbers))
        of_training = mean_text_similarity([studio.references] * len(texts), texts)
        table.append(line(figure, studio, row="training pictures", concept=concept, text_similarity=of_training))
    return hung(figure, rows, table)


def composition(
    grid: Grid, figure: Figure, concepts: Sequence[str], seeds: Sequence[int],
    styled: str, styles: Sequence[str], beside: str, companions: Sequence[str], samples: int, pictures: int,
) -> list[Verdict]:  # fmt: skip
    """Figure 7: two words that were learned apart in one sentence. Each concept {a} is put into `styled`, which works,
    with one of the `styles` as {b}, and into `beside`, which fails, with one of the `companions`. Of `pictures` from
    the same noise the classifier, where there is one, counts those that show both."""
    classifier = grid.classifier
    studios = grid.studios(list(dict.fromkeys([*concepts, *styles, *companions])), seeds[0])
    rows, table = [], []
    for i, concept in enumerate(tqdm(concepts, desc="painting", unit="concept")):
        others = [name for name in companions if name != concept]
        pairs = (("style", styled, styles[i % len(styles)]), ("relation", beside, others[i % len(others)]))
        if not {concept, *(name for _, _, name in pairs)} <= studios.keys():
            continue
        a, shown, captions = studios[concept], [], []
        for row, template, name in pairs:
            b = studios[name]
            both = [LearnedWord("S_a", a.word.vectors), LearnedWord("S_b", b.word.vectors)]
            prompt = template.format(a="S_a", b="S_b")
            painted = a.painter([prompt], range(pictures), manager_of(a.painter.ldm, both))
            shown.append(to_uint8(painted[:samples]))
            captions += [f"{prompt} ({name})", *[""] * (samples - 1)]
            numbers = {}
            if classifier is not None:
                there = b.labels if row == "style" else {"companion": b.labels["class"]}
                numbers["obeyed"] = share_that_shows(classifier, painted, {"class": a.labels["class"], **there})
            table.append(line(figure, a, b, row=row, concept=concept, other=name, **numbers))
        rows.append(Row(f"S_a is {concept}", np.concatenate(shown), captions))
    return hung(figure, rows, table)


def all_shown(seen: Mapping[str, Sequence[str]], shows: Mapping[str, str], i: int) -> bool:
    """Whether picture i shows every one of these labels' values, of what is `seen` in all pictures."""
    return all(seen[label][i] == value for label, value in shows.items())


def share_that_shows(classifier: AttributeClassifier, images: Tensor, shows: Mapping[str, str]) -> float:
    """The share of `images` [n, 3, H, W] that show every one of these labels' values."""
    seen = classifier.names(images)
    return float(np.mean([all_shown(seen, shows, i) for i in range(len(images))]))


def bias(
    grid: Grid, figure: Figure, seeds: Sequence[int],
    concept: str, word: str, prompt: str, guidance: Sequence[float], samples: int, pictures: int,
    look: Mapping[str, str], judge: AttributeClassifier,
) -> list[Verdict]:  # fmt: skip
    """Figure 8: what `word` looks like before, and after S* was learned from a small balanced set, at every guidance.
    `look` is the common one, `judge` tells looks apart. Where there is a classifier, those samples are counted that are
    painted from the same noise and show a `word` in both."""
    classifier, judge = grid.classifier, judge.eval()
    rows, table, looks = [], [], []
    for g in tqdm(guidance, desc="painting", unit="guidance"):
        (studio,) = grid.studios([concept], seeds[0], [f"guidance={g}"]).values()
        painted = {
            f"before, guidance {g:g}": studio.painter([fill(prompt, with_article(word))], range(pictures)),
            f"after, guidance {g:g}": Word(studio.material).paint([prompt], range(pictures)),
        }
        rows = rows or [Row("training pictures", studio.material.images[:samples])]
        rows += [Row(f"{row}, not chosen", to_uint8(images[:samples])) for row, images in painted.items()]
        if classifier is None:
            continue
        seen = {row: classifier.names(images) | judge.names(images) for row, images in painted.items()}
        those = [i for i in range(pictures) if all(each["class"][i] == word for each in seen.values())]
        for row in painted:
            for i in those:
                common = float(all_shown(seen[row], look, i))
                table.append(line(figure, studio, row=row, concept=f"sample {i}", common_look=common))
            for label in look:
                for value in judge.labels[label]:
                    share = float(np.mean([seen[row][label][i] == value for i in those])) if those else 0.0
                    looks.append(line(figure, studio, row=row, look=f"{label} {value}", share=share))
    shares = {each["row"]: {e["look"]: e["share"] for e in looks if e["row"] == each["row"]} for each in looks}
    if looks:
        plots.bars(figure.folder / f"{figure.name}_looks", shares, "share of pictures")
        write_table(figure.folder / f"{figure.name}_looks.csv", looks)
    return hung(figure, rows, table)


def blended(
    grid: Grid, figure: Figure, concepts: Sequence[str], seeds: Sequence[int],
    scene: str, prompt: str, samples: int, box: Sequence[float], evaluate: Sequence[str],
) -> list[Verdict]:  # fmt: skip
    """Figure 9: S* is painted into a picture of `scene`, in `box` (left, top, right, bottom as shares of the side) and
    nowhere else; beside it in numbers the coarse word, painted into the same. `evaluate` as in `Cell`."""
    rows, table = [], []
    for concept, studio in painting(grid.studios(concepts, seeds[0], evaluate)):
        painter, word = studio.painter, studio.word
        x = to_uint8(painter([scene], range(samples, samples + 1)))[0]  # the edits take the noise before
        left, top, right, bottom = (round(share * len(x)) for share in box)
        mask = np.zeros(x.shape[:2], dtype=bool)
        mask[top:bottom, left:right] = True
        embeddings = manager_of(painter.ldm, [word])
        painted: dict[str, Tensor] = {"before": to_tensor(x[None])}
        for row, said in (("after", word.placeholder), ("coarse word", studio.coarse)):
            painted[row] = edit(painter, [fill(prompt, said)] * samples, embeddings, x, mask)
        shown = np.where(mask[..., None], x // 2 + 64, x)
        rows.append(Row(f"{concept}: picture, mask, edits", np.stack([x, shown, *to_uint8(painted["after"])])))
        for row, images in painted.items():
            likeness = studio.likeness(studio.evaluation.embed(images[..., top:bottom, left:right]))
            table.append(line(figure, studio, row=row, concept=concept, image_similarity=likeness))
    return hung(figure, rows, table)
