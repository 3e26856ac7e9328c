"""Retrieval, similarity and classification data, as local files hold them (docs/evaluation.md states the formats).

Shapes: Q queries, D candidates, N rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from neobert.embedding.retrieval import RetrievalBuilder, RetrievalData
from neobert.evaluation.lines import Faults, read_lines

SIMILARITY_FORMAT = 'a line of it: {"sentence1": "...", "sentence2": "...", "score": 0.8}'
CLASSIFICATION_FORMAT = 'a line of it: {"text": "...", "label": "...", "split": "train"} (or "test")'
RETRIEVAL_FORMAT = 'a line of it: {"query": "...", "positive": "..."} (or a list of them, and "negatives" beside it)'
SPLITS = ("train", "test")


@frozen(eq=False)
class SimilarityData:
    """Pairs of texts (N,), and how alike people find them."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]


@frozen(eq=False)
class ClassificationData:
    """Texts (N,) with a label each, to learn from and to be tried on."""

    train: tuple[str, ...]
    train_labels: tuple[str, ...]
    test: tuple[str, ...]
    test_labels: tuple[str, ...]


def read_similarity(file: Path) -> SimilarityData:
    """Raises UserError with every fault of the file."""
    faults, rows = Faults(), []
    for line in read_lines(file, faults):
        row = line.text("sentence1"), line.text("sentence2"), line.number("score")
        if None not in row:
            rows.append(row)
    if not faults.found and len({score for *_, score in rows}) < 2:
        faults.add(str(file), "no two pairs with different scores: there is no order to compare with")
    faults.refuse(SIMILARITY_FORMAT)
    first, second, scores = zip(*rows, strict=True)
    return SimilarityData(first, second, scores)


def read_classification(file: Path) -> ClassificationData:
    """Raises UserError with every fault of the file."""
    faults = Faults()
    rows: dict[str, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    for line in read_lines(file, faults):
        text, label, split = line.text("text"), line.label("label"), line.choice("split", SPLITS)
        if text is not None and label is not None and split is not None:
            rows[split].append((text, label))
    if not faults.found:
        _check_classes(file, rows, faults)
    faults.refuse(CLASSIFICATION_FORMAT)
    columns = [tuple(zip(*rows[split], strict=True)) for split in SPLITS]
    return ClassificationData(*columns[0], *columns[1])


def _check_classes(file: Path, rows: Mapping[str, list[tuple[str, str]]], faults: Faults) -> None:
    for split in SPLITS:
        if not rows[split]:
            faults.add(str(file), f'no line has "split": "{split}"')
    known = {label for _, label in rows["train"]}
    if rows["train"] and len(known) < 2:
        faults.add(str(file), f"all lines of the split train have the label {known.pop()!r}: nothing to tell apart")
    unknown = sorted({label for _, label in rows["test"]} - known)
    if rows["train"] and unknown:
        faults.add(str(file), f"labels of the split test that no line of train has: {', '.join(unknown[:5])}")


def read_pairs(file: Path) -> RetrievalData:
    """Queries with what is right for them, all candidates taken together. Raises UserError with every fault."""
    faults = Faults()
    builder = RetrievalBuilder()
    for line in read_lines(file, faults):
        query, right = line.text("query"), line.texts("positive")
        others = line.texts("negatives", optional=True)
        if query is not None and right:
            for text in right:
                builder.add(query, text, 1.0)
            for text in others:
                builder.candidate(text)
    if not faults.found and not builder.right:
        faults.add(str(file), "no line has a query")
    faults.refuse(RETRIEVAL_FORMAT)
    return builder.build()
