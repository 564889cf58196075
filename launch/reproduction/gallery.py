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
from textual_inversion.figures.sheets import PictureRow
from textual_inversion.generation import manager_of
from textual_inversion.words.file import LearnedWord
from toyland.captions import with_article

from .cells import CellStore, LearnedConcept, commit
from .hashes import combine
from .report import Figure, write_table

Table = list[dict[str, Any]]


def record(figure: Figure, learned: LearnedConcept, *others: LearnedConcept, **numbers: Any) -> dict[str, Any]:
    """One line of the figure's table, and what it was made with."""
    config = combine(figure.settings, learned.config, *(other.config for other in others))
    return numbers | {"config": config, "commit": commit(), "word_commit": learned.commit}


def save_gallery(figure: Figure, rows: Sequence[PictureRow], table: Table) -> list[Verdict]:
    """Writes the figure and its numbers."""
    sheets.save_figure(figure.path, rows)
    return figure.conclude(table)


def painting(learned_concepts: Mapping[str, LearnedConcept]) -> Iterable[tuple[str, LearnedConcept]]:
    """Each in turn, with the time left."""
    return tqdm(learned_concepts.items(), desc="painting", unit="concept")


def mean_text_similarity(embeddings: Iterable[Tensor], texts: Iterable[Tensor]) -> float:
    """Mean text similarity of the pictures [n, d] of each text with it, [d]."""
    return float(np.mean([text_similarity(x, text) for x, text in zip(embeddings, texts, strict=True)]))


def variations(
    store: CellStore, figure: Figure, concepts: Sequence[str], seeds: Sequence[int],
    prompt: str, samples: int, pictures: int,
) -> list[Verdict]:  # fmt: skip
    """Figure 3: the word beside what a long caption gives."""
    rows, table = [], []
    for concept, learned in painting(store.learned_concepts(concepts, seeds[0])):
        shown, captions = [learned.inputs.images[:2]], ["training pictures", ""]
        for row, subject in (("word", Word(learned.inputs)), ("long caption", Captions(learned.inputs, "long.txt"))):
            painted = subject.paint([prompt], range(pictures))
            shown.append(to_uint8(painted[:samples]))
            captions += [row, *[""] * (samples - 1)]
            likeness = learned.likeness(learned.evaluation.embed(painted))
            table.append(record(figure, learned, row=row, concept=concept, image_similarity=likeness))
        rows.append(PictureRow(concept, np.concatenate(shown), captions))
    return save_gallery(figure, rows, table)


def synthesis(
    store: CellStore, figure: Figure, concepts: Sequence[str], seeds: Sequence[int],
    candidates: int, plain: str, prompts: Sequence[str],
) -> list[Verdict]:  # fmt: skip
    """Figure 4: the word in new sentences, of `candidates` the one that CLIP finds nearest the sentence, as the paper
    chooses its pictures. The numbers are those of all candidates, beside those of a `plain` photo, and of the coarse
    word in the same sentences."""
    rows, table = [], []
    for concept, learned in painting(store.learned_concepts(concepts, seeds[0])):
        subject, evaluation = Word(learned.inputs), learned.evaluation
        photos = evaluation.embed(subject.paint([plain], range(candidates)))
        texts = evaluation.evaluator.embed_texts([without_word(prompt) for prompt in prompts]).cpu()
        best, asked = [learned.inputs.images[0]], []
        painted = subject.paint(prompts, range(candidates)).split(candidates)
        for pictures, text in zip(painted, texts, strict=True):
            asked.append(evaluation.embed(pictures))
            best.append(to_uint8(pictures)[int((asked[-1] @ text).argmax())])
        coarse = learned.pipeline([fill(prompt, learned.coarse) for prompt in prompts], range(candidates))
        rows.append(PictureRow(concept, np.stack(best), ["training picture", *(fill(p, "S*") for p in prompts)]))
        numbers = {
            "asked for": {
                "text_similarity": mean_text_similarity(asked, texts),
                "image_similarity": learned.likeness(torch.cat(asked)),
            },
            "plain photo": {"text_similarity": mean_text_similarity([photos] * len(texts), texts)},
            "coarse word": {"image_similarity": learned.likeness(evaluation.embed(coarse))},
        }
        table += [record(figure, learned, row=row, concept=concept, **found) for row, found in numbers.items()]
    return save_gallery(figure, rows, table)


def style(
    store: CellStore, figure: Figure, seeds: Sequence[int],
    styles: Sequence[str], prompts: Sequence[str], without: Sequence[str], labels: Sequence[Mapping[str, str]],
    samples: int,
) -> list[Verdict]:  # fmt: skip
    """Figure 6: a learned style on other things; `without` are the same sentences without it, painted from the same
    noise, `samples` of each. Who only repaints the training pictures is no nearer the sentences than these are. The
    classifier counts the pictures that show `labels` of their sentences, label -> value."""
    classifier = store.classifier
    rows, table = [], []
    for concept, learned in painting(store.learned_concepts(styles, seeds[0])):
        subject, evaluation = Word(learned.inputs), learned.evaluation
        painted = {
            "styled": subject.paint(prompts, range(samples)).split(samples),
            "plain": learned.pipeline(without, range(samples)).split(samples),
        }
        rows += [PictureRow(f"{concept}: training pictures", learned.inputs.images[: len(prompts)])]
        rows += [
            PictureRow("in the style of S*", to_uint8(torch.stack([x[0] for x in painted["styled"]])), list(without))
        ]
        texts = evaluation.evaluator.embed_texts(list(without)).cpu()
        for row, of_each in painted.items():
            found = [evaluation.embed(x) for x in of_each]
            numbers = {
                "image_similarity": learned.likeness(torch.cat(found)),
                "text_similarity": mean_text_similarity(found, texts),
            }
            if classifier is not None:
                shown = [share_that_shows(classifier, x, each) for x, each in zip(of_each, labels, strict=True)]
                numbers |= {"labels_shown": float(np.mean(shown))}
            table.append(record(figure, learned, row=row, concept=concept, **numbers))
        of_training = mean_text_similarity([learned.references] * len(texts), texts)
        table.append(record(figure, learned, row="training pictures", concept=concept, text_similarity=of_training))
    return save_gallery(figure, rows, table)


def composition(
    store: CellStore, figure: Figure, concepts: Sequence[str], seeds: Sequence[int],
    styled: str, styles: Sequence[str], beside: str, companions: Sequence[str], samples: int, pictures: int,
) -> list[Verdict]:  # fmt: skip
    """Figure 7: two words that were learned apart in one sentence. Each concept {a} is put into `styled`, which works,
    with one of the `styles` as {b}, and into `beside`, which fails, with one of the `companions`. Of `pictures` from
    the same noise the classifier, where there is one, counts those that show both."""
    classifier = store.classifier
    learned_concepts = store.learned_concepts(list(dict.fromkeys([*concepts, *styles, *companions])), seeds[0])
    rows, table = [], []
    for i, concept in enumerate(tqdm(concepts, desc="painting", unit="concept")):
        others = [name for name in companions if name != concept]
        pairs = (("style", styled, styles[i % len(styles)]), ("relation", beside, others[i % len(others)]))
        if not {concept, *(name for _, _, name in pairs)} <= learned_concepts.keys():
            continue
        a, shown, captions = learned_concepts[concept], [], []
        for row, template, name in pairs:
            b = learned_concepts[name]
            both = [LearnedWord("S_a", a.word.vectors), LearnedWord("S_b", b.word.vectors)]
            prompt = template.format(a="S_a", b="S_b")
            painted = a.pipeline([prompt], range(pictures), manager_of(a.pipeline.ldm, both))
            shown.append(to_uint8(painted[:samples]))
            captions += [f"{prompt} ({name})", *[""] * (samples - 1)]
            numbers = {}
            if classifier is not None:
                there = b.labels if row == "style" else {"companion": b.labels["class"]}
                numbers["obeyed"] = share_that_shows(classifier, painted, {"class": a.labels["class"], **there})
            table.append(record(figure, a, b, row=row, concept=concept, other=name, **numbers))
        rows.append(PictureRow(f"S_a is {concept}", np.concatenate(shown), captions))
    return save_gallery(figure, rows, table)


def all_shown(seen: Mapping[str, Sequence[str]], shows: Mapping[str, str], i: int) -> bool:
    """Whether picture i shows every one of these labels' values, of what is `seen` in all pictures."""
    return all(seen[label][i] == value for label, value in shows.items())


def share_that_shows(classifier: AttributeClassifier, images: Tensor, shows: Mapping[str, str]) -> float:
    """The share of `images` [n, 3, H, W] that show every one of these labels' values."""
    seen = classifier.names(images)
    return float(np.mean([all_shown(seen, shows, i) for i in range(len(images))]))


def bias(
    store: CellStore, figure: Figure, seeds: Sequence[int],
    concept: str, class_name: str, prompt: str, guidance: Sequence[float], samples: int, pictures: int,
    look: Mapping[str, str], look_classifier: AttributeClassifier,
) -> list[Verdict]:  # fmt: skip
    """Figure 8: what a `class_name` looks like before, and after S* was learned from a small balanced set, at every
    guidance. `look` is the common one, `look_classifier` names looks. Where there is a classifier, those samples are
    counted that come from the same noise and show a `class_name` in both."""
    classifier, look_classifier = store.classifier, look_classifier.eval()
    rows, table, look_records = [], [], []
    for g in tqdm(guidance, desc="painting", unit="guidance"):
        (learned,) = store.learned_concepts([concept], seeds[0], [f"guidance={g}"]).values()
        painted = {
            f"before, guidance {g:g}": learned.pipeline([fill(prompt, with_article(class_name))], range(pictures)),
            f"after, guidance {g:g}": Word(learned.inputs).paint([prompt], range(pictures)),
        }
        rows = rows or [PictureRow("training pictures", learned.inputs.images[:samples])]
        rows += [PictureRow(f"{row}, not chosen", to_uint8(images[:samples])) for row, images in painted.items()]
        if classifier is None:
            continue
        seen = {row: classifier.names(images) | look_classifier.names(images) for row, images in painted.items()}
        those = [i for i in range(pictures) if all(each["class"][i] == class_name for each in seen.values())]
        for row in painted:
            for i in those:
                common = float(all_shown(seen[row], look, i))
                table.append(record(figure, learned, row=row, concept=f"sample {i}", common_look=common))
            for label in look:
                for value in look_classifier.labels[label]:
                    share = float(np.mean([seen[row][label][i] == value for i in those])) if those else 0.0
                    look_records.append(record(figure, learned, row=row, look=f"{label} {value}", share=share))
    shares = {
        each["row"]: {e["look"]: e["share"] for e in look_records if e["row"] == each["row"]} for each in look_records
    }
    if look_records:
        plots.bar_plot(figure.folder / f"{figure.name}_looks", shares, "share of pictures")
        write_table(figure.folder / f"{figure.name}_looks.csv", look_records)
    return save_gallery(figure, rows, table)


def blended(
    store: CellStore, figure: Figure, concepts: Sequence[str], seeds: Sequence[int],
    scene: str, prompt: str, samples: int, box: Sequence[float], evaluate: Sequence[str],
) -> list[Verdict]:  # fmt: skip
    """Figure 9: S* is painted into a picture of `scene`, in `box` (left, top, right, bottom as shares of the side) and
    nowhere else; beside it in numbers the coarse word, painted into the same. `evaluate` as in `Cell`."""
    rows, table = [], []
    for concept, learned in painting(store.learned_concepts(concepts, seeds[0], evaluate)):
        pipeline, word = learned.pipeline, learned.word
        x = to_uint8(pipeline([scene], range(samples, samples + 1)))[0]  # the edits take the noise before
        left, top, right, bottom = (round(share * len(x)) for share in box)
        mask = np.zeros(x.shape[:2], dtype=bool)
        mask[top:bottom, left:right] = True
        embeddings = manager_of(pipeline.ldm, [word])
        painted: dict[str, Tensor] = {"before": to_tensor(x[None])}
        for row, said in (("after", word.placeholder), ("coarse word", learned.coarse)):
            painted[row] = edit(pipeline, [fill(prompt, said)] * samples, embeddings, x, mask)
        shown = np.where(mask[..., None], x // 2 + 64, x)
        rows.append(PictureRow(f"{concept}: picture, mask, edits", np.stack([x, shown, *to_uint8(painted["after"])])))
        for row, images in painted.items():
            likeness = learned.likeness(learned.evaluation.embed(images[..., top:bottom, left:right]))
            table.append(record(figure, learned, row=row, concept=concept, image_similarity=likeness))
    return save_gallery(figure, rows, table)
