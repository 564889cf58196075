"""Figures with images (figures 3, 4, 6, 7, 8 and 9 of the paper), each with metrics for what the images show."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
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
from toyland.captions import with_article

from .cells import Cell, CellStore, LearnedConcept
from .hashes import combine
from .records import commit
from .report import Figure, table_of, write_table

Table = list[dict[str, Any]]


def record(figure: Figure, learned: LearnedConcept, *others: LearnedConcept, **numbers: Any) -> dict[str, Any]:
    """Return one line of the figure's table, with the hash of its config and the commits of the code."""
    config = combine(figure.settings, learned.config, *(other.config for other in others))
    return numbers | {"config": config, "commit": commit(), "word_commit": learned.commit}


def save_gallery(figure: Figure, rows: Sequence[PictureRow], table: Table) -> list[Verdict]:
    """Write the figure and its table; return the verdicts on its claims."""
    sheets.save_small_figure(figure.path, rows)
    return figure.conclude(table_of(table))


def with_progress(learned_concepts: Mapping[str, LearnedConcept]) -> Iterable[tuple[str, LearnedConcept]]:
    """Iterate over the concepts with a progress bar."""
    return tqdm(learned_concepts.items(), desc="generating", unit="concept")


def mean_text_similarity(embeddings: Iterable[Tensor], texts: Iterable[Tensor]) -> float:
    """Return the mean text similarity over all texts: image embeddings [n, d] of each text against its own embedding
    [d]."""
    return float(np.mean([text_similarity(x, text) for x, text in zip(embeddings, texts, strict=True)]))


def variations(
    store: CellStore, figure: Figure, concepts: Sequence[str], seeds: Sequence[int],
    prompt: str, samples: int, pictures: int,
) -> list[Verdict]:  # fmt: skip
    """Figure 3: images of the word beside images of a long caption."""
    rows, table = [], []
    for concept, learned in with_progress(store.learned_concepts(concepts, seeds[0])):
        shown, captions = [learned.inputs.images[:2]], ["training pictures", ""]
        for row, subject in (("word", Word(learned.inputs)), ("long caption", Captions(learned.inputs, "long.txt"))):
            generated = subject.generate([prompt], range(pictures))
            shown.append(to_uint8(generated[:samples]))
            captions += [row, *[""] * (samples - 1)]
            table.append(record(figure, learned, row=row, concept=concept, **learned.likeness(generated)))
        rows.append(PictureRow(concept, np.concatenate(shown), captions))
    return save_gallery(figure, rows, table)


def synthesis(
    store: CellStore, figure: Figure, concepts: Sequence[str], seeds: Sequence[int],
    candidates: int, plain: str, prompts: Sequence[str],
) -> list[Verdict]:  # fmt: skip
    """Figure 4: the word in new prompts. As in the paper, the figure shows the image out of `candidates` that CLIP
    finds most similar to the prompt. The metrics are over all candidates, compared with the `plain` prompt and with the
    coarse word in the same prompts."""
    rows, table = [], []
    for concept, learned in with_progress(store.learned_concepts(concepts, seeds[0])):
        subject, evaluation = Word(learned.inputs), learned.evaluation
        photos = evaluation.embed(subject.generate([plain], range(candidates)))
        texts = evaluation.evaluator.embed_texts([without_word(prompt) for prompt in prompts]).cpu()
        best, asked = [learned.inputs.images[0]], []
        generated = subject.generate(prompts, range(candidates))
        for pictures, text in zip(generated.split(candidates), texts, strict=True):
            asked.append(evaluation.embed(pictures))
            best.append(to_uint8(pictures)[int((asked[-1] @ text).argmax())])
        coarse = learned.pipeline([fill(prompt, learned.coarse) for prompt in prompts], range(candidates))
        rows.append(PictureRow(concept, np.stack(best), ["training picture", *(fill(p, "S*") for p in prompts)]))
        numbers = {
            "asked for": {
                "text_similarity": mean_text_similarity(asked, texts),
                **learned.likeness(generated),
            },
            "plain photo": {"text_similarity": mean_text_similarity([photos] * len(texts), texts)},
            "coarse word": learned.likeness(coarse),
        }
        table += [record(figure, learned, row=row, concept=concept, **found) for row, found in numbers.items()]
    return save_gallery(figure, rows, table)


def style(
    store: CellStore, figure: Figure, seeds: Sequence[int],
    styles: Sequence[str], prompts: Sequence[str], without: Sequence[str], labels: Sequence[Mapping[str, str]],
    samples: int,
) -> list[Verdict]:  # fmt: skip
    """Figure 6: a learned style applied to other subjects, `samples` images per prompt. `without` are the same prompts
    without the style, sampled from the same noise. The text similarity of the training images is the baseline: a word
    that only reproduces them cannot exceed it. The classifier counts the images that show the `labels` of their
    prompts, label -> value."""
    classifier = store.classifier
    rows, table = [], []
    for concept, learned in with_progress(store.learned_concepts(styles, seeds[0])):
        subject, evaluation = Word(learned.inputs), learned.evaluation
        generated = {
            "styled": subject.generate(prompts, range(samples)).split(samples),
            "plain": learned.pipeline(without, range(samples)).split(samples),
        }
        rows += [PictureRow(f"{concept}: training pictures", learned.inputs.images[: len(prompts)])]
        rows += [
            PictureRow("in the style of S*", to_uint8(torch.stack([x[0] for x in generated["styled"]])), list(without))
        ]
        texts = evaluation.evaluator.embed_texts(list(without)).cpu()
        for row, of_each in generated.items():
            found = [evaluation.embed(x) for x in of_each]
            numbers = learned.likeness(torch.cat(of_each))
            numbers["text_similarity"] = mean_text_similarity(found, texts)
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
    """Figure 7: two separately learned words in one prompt. Each concept {a} is combined with one of the `styles` {b}
    in `styled`, which works, and with one of the `companions` in `beside`, which fails. As a control, the coarse words
    of both stand in `beside`. The classifier, if there is one, counts how many of `pictures` images show both."""
    classifier = store.classifier
    learned_concepts = store.learned_concepts(list(dict.fromkeys([*concepts, *styles, *companions])), seeds[0])
    rows, table = [], []
    for i, concept in enumerate(tqdm(concepts, desc="generating", unit="concept")):
        others = [name for name in companions if name != concept]
        style, companion = styles[i % len(styles)], others[i % len(others)]
        if not {concept, style, companion} <= learned_concepts.keys():
            continue
        a, generated = learned_concepts[concept], []
        for row, template, name in (("style", styled, style), ("relation", beside, companion)):
            both = [a.word.named("S_a"), learned_concepts[name].word.named("S_b")]
            prompt = template.format(a="S_a", b="S_b")
            images = a.pipeline([prompt], range(pictures), manager_of(a.pipeline.ldm, both))
            generated.append((row, name, f"{prompt} ({name})", images))
        plain = beside.format(a=a.coarse, b=learned_concepts[companion].coarse)
        generated.append(("plain words", companion, plain, a.pipeline([plain], range(pictures))))
        shown, captions = [], []
        for row, name, caption, images in generated:
            shown.append(to_uint8(images[:samples]))
            captions += [caption, *[""] * (samples - 1)]
            numbers, b = {}, learned_concepts[name]
            if classifier is not None:
                there = b.labels if row == "style" else {"companion": b.labels["class"]}
                numbers["obeyed"] = share_that_shows(classifier, images, {"class": a.labels["class"], **there})
            table.append(record(figure, a, b, row=row, concept=concept, other=name, **numbers))
        rows.append(PictureRow(f"S_a is {concept}", np.concatenate(shown), captions))
    return save_gallery(figure, rows, table)


def share_that_shows(classifier: AttributeClassifier, images: Tensor, shows: Mapping[str, str]) -> float:
    """Return the fraction of `images` [n, 3, H, W] that show all values of `shows`, label -> value."""
    seen = classifier.names(images)
    return float(np.mean([all(seen[label][i] == value for label, value in shows.items()) for i in range(len(images))]))


def bias(
    store: CellStore, figure: Figure, seeds: Sequence[int],
    concept: str, class_name: str, prompt: str, guidance: Sequence[float], samples: int, pictures: int,
    look: Mapping[str, str], look_classifier: AttributeClassifier,
) -> list[Verdict]:  # fmt: skip
    """Figure 8: the looks of a `class_name` before and after S* was learned from a small balanced set, at every
    guidance. The units of its claims are words, one of each seed, each with `pictures` images from noise of its own.

    `look` is the most common look; `look_classifier` classifies looks. If the store has a classifier, only samples are
    counted that show a `class_name` both before and after, from the same noise."""
    classifier, look_classifier = store.classifier, look_classifier.eval()
    store.words([Cell(concept, seed) for seed in seeds])  # in packs
    rows, table, look_records = [], [], []
    for g, seed in tqdm([*product(guidance, seeds)], desc="generating", unit="word"):
        (learned,) = store.learned_concepts([concept], seed, [f"guidance={g}"]).values()
        numbers = range(seed * pictures, (seed + 1) * pictures)
        generated = {
            f"before, guidance {g:g}": learned.pipeline([fill(prompt, with_article(class_name))], numbers),
            f"after, guidance {g:g}": Word(learned.inputs).generate([prompt], numbers),
        }
        rows = rows or [PictureRow("training pictures", learned.inputs.images[:samples])]
        if seed == seeds[0]:
            rows += [PictureRow(f"{row}, not chosen", to_uint8(images[:samples])) for row, images in generated.items()]
        if classifier is None:
            continue
        seen = {row: classifier.names(images) | look_classifier.names(images) for row, images in generated.items()}
        those = [i for i in range(pictures) if all(each["class"][i] == class_name for each in seen.values())]
        for row, labels in seen.items() if those else ():
            unit = {"row": row, "concept": f"word {seed}"}
            looks = [tuple(labels[name][i] for name in look) for i in those]
            counted = {"common_look": float(np.mean([each == tuple(look.values()) for each in looks]))}
            if len(looks) > 1:
                counted["look_diversity"] = float(np.mean([one != other for one, other in combinations(looks, 2)]))
            table.append(record(figure, learned, **unit, **counted))
            for name in look:
                for value in look_classifier.labels[name]:
                    share = float(np.mean([labels[name][i] == value for i in those]))
                    look_records.append(record(figure, learned, **unit, look=f"{name} {value}", share=share))
    if look_records:
        looks = table_of(look_records)
        shares = {
            str(row): found.groupby("look", sort=False)["share"].mean().to_dict()
            for row, found in looks.groupby("row", sort=False)
        }
        plots.bar_plot(figure.folder / f"{figure.name}_looks", shares, "share of pictures")
        write_table(figure.folder / f"{figure.name}_looks.csv", looks)
    return save_gallery(figure, rows, table)


def blended(
    store: CellStore, figure: Figure, concepts: Sequence[str], seeds: Sequence[int],
    scene: str, prompt: str, samples: int, box: Sequence[float], evaluate: Sequence[str],
) -> list[Verdict]:  # fmt: skip
    """Figure 9: S* is blended into an image of `scene`, only inside `box` (left, top, right, bottom as fractions of
    the side). The table also has the coarse word, blended into the same image. `evaluate` as in `Cell`."""
    rows, table = [], []
    for concept, learned in with_progress(store.learned_concepts(concepts, seeds[0], evaluate)):
        pipeline, word = learned.pipeline, learned.word
        x = to_uint8(pipeline([scene], range(samples, samples + 1)))[0]  # the edits use the noise of earlier indices
        left, top, right, bottom = (round(share * len(x)) for share in box)
        mask = np.zeros(x.shape[:2], dtype=bool)
        mask[top:bottom, left:right] = True
        embeddings = manager_of(pipeline.ldm, [word])
        generated: dict[str, Tensor] = {"before": to_tensor(x[None])}
        for row, said in (("after", word.placeholder), ("coarse word", learned.coarse)):
            generated[row] = edit(pipeline, [fill(prompt, said)] * samples, embeddings, x, mask)
        shown = np.where(mask[..., None], x // 2 + 64, x)
        rows.append(PictureRow(f"{concept}: picture, mask, edits", np.stack([x, shown, *to_uint8(generated["after"])])))
        for row, images in generated.items():
            likeness = learned.likeness(images[..., top:bottom, left:right])
            table.append(record(figure, learned, row=row, concept=concept, **likeness))
    return save_gallery(figure, rows, table)
