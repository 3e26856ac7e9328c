"""What counting words comes to on a run's own held-out pairs, beside which its figures mean something."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from neobert.abilities import makes_embeddings
from neobert.data.features import is_text
from neobert.embedding.retrieval import WITHOUT_WORDS, WORDS, RetrievalBuilder, RetrievalData, words_are_counted
from neobert.objective_names import named
from neobert.training.embedding_meter import POSITIVE, QUERY
from neobert.training.evaluation_names import AMONG_ALL, CANDIDATES
from neobert.training.trained_candidates import TrainedCandidates
from neobert.wording import counted, listed

if TYPE_CHECKING:
    from neobert.data import EvaluationData
    from neobert.training.assemble import Parts

MOST_SCORES = 10**9
"""Scores that are computed, for a minute or two of one core."""
Figures = dict[str, dict[str, float]]


def word_figures(parts: Parts, train_candidates: int | None) -> tuple[Figures, list[str]]:
    """Figures by who reached them, TF-IDF and BM25, under the names that the run's own have; and why there are none.

    Of the whole texts of the rows that were evaluated on, without prefixes. Empty where nothing is retrieved.
    """
    data = parts.evaluation_data
    rows: Any = parts.context.dataset.get("eval")
    if data is None or not makes_embeddings(parts.own_objective.loss) or not {QUERY, POSITIVE} <= rows.features.keys():
        return {}, []
    if not words_are_counted():
        return {}, [WITHOUT_WORDS]
    if not all(is_text(rows.features[name]) for name in (QUERY, POSITIVE)):
        return {}, [f"without {listed(WORDS)}: the rows are token ids"]
    builder = RetrievalBuilder()
    for query, positive in _pairs(rows, _evaluated(data)):
        builder.add(query, positive, 1.0)
    asked = [("", builder.build())]
    if train_candidates is not None:
        further = TrainedCandidates.of(parts, train_candidates)
        for _, positive in _pairs(parts.context.dataset["train"], further.rows):
            builder.candidate(positive)
        asked.append((AMONG_ALL, builder.build()))
    figures: Figures = {name: {} for name in WORDS}
    notes: list[str] = []
    for prefix, texts in asked:
        found, why = _ranked(texts)
        notes += why
        for name, values in found.items():
            figures[name] |= {prefix + figure: value for figure, value in values.items()}
            if prefix:
                figures[name][CANDIDATES] = float(len(texts.candidates))
    return {name: values for name, values in figures.items() if values}, notes


def add_figures(evaluations: dict[str, dict[str, float]], figures: Figures, objective: str) -> None:
    """Puts the figures of an objective beside what the run evaluated, under the names that its own have."""
    for name, values in figures.items():
        evaluations.setdefault(name, {}).update(named(objective, values))


def _ranked(texts: RetrievalData) -> tuple[Figures, list[str]]:
    size = f"{counted(len(texts.queries), 'query')} among {counted(len(texts.candidates), 'text')}"
    if len(texts.queries) * len(texts.candidates) > MOST_SCORES:
        return {}, [f"without {listed(WORDS)} of {size}: that would take too long; neobert-run --evaluate computes it"]
    try:
        return texts.ranked_by_words(), []
    except ValueError as error:  # such as texts without a word that counts
        return {}, [f"without {listed(WORDS)} of {size}: {error}"]


def _evaluated(data: EvaluationData) -> Any:
    """(n,) the rows that are evaluated on, ascending."""
    return np.unique(np.concatenate([data.documents_of(batch) for batch in range(len(data))]))


def _pairs(rows: Any, numbers: Any) -> Iterator[tuple[str, str]]:
    found = rows.select_columns([QUERY, POSITIVE]).select(numbers)
    for batch in found.iter(batch_size=1000):
        yield from zip(batch[QUERY], batch[POSITIVE], strict=True)
