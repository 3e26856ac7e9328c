"""Retrieval among texts: queries, candidates, and who answers whom, ranked by a model or by counting words alone.

Shapes: Q queries, D candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec

import torch
from attrs import field, frozen
from torch import Tensor

from neobert.embedding.nearest import Scores, nearest
from neobert.embedding.ranking import DEPTH, Relevance, ranking_metrics
from neobert.embedding.words import TfIdf, WordScores, bm25_scores, tf_idf_scores

WORDS: Mapping[str, Callable[[Sequence[str], Sequence[str]], WordScores]] = {
    TfIdf.name: tf_idf_scores,
    "BM25": bm25_scores,
}
"""Ways to rank candidates that need no model, by name."""
WITHOUT_WORDS = "without TF-IDF and BM25: scikit-learn is not installed (pip install 'neobert[evaluation]')"


@frozen(eq=False)
class RetrievalData:
    """Queries, and which candidates are right for each. A text is there once: candidates of one text are one."""

    queries: tuple[str, ...]
    candidates: tuple[str, ...]
    right: tuple[tuple[int, int, float], ...]
    """(query, candidate, grade)."""
    notes: tuple[str, ...] = ()
    relevance: Relevance = field(init=False, repr=False)
    """The same as arrays. Raises ValueError where a query has no right candidate."""

    @relevance.default
    def _relevance(self) -> Relevance:
        return Relevance.of(self.right, len(self.queries))

    def ranked(self, scores: Scores) -> dict[str, float]:
        """The figures of ``scores`` (Q, D). A query's own text is no answer to it, unless it is said to be."""
        found = nearest(scores, DEPTH, left_out=own_text(self.queries, self.candidates, self.right))
        return ranking_metrics(found.numpy(), self.relevance)

    def ranked_by_words(self) -> dict[str, dict[str, float]]:
        """The same for each of `WORDS`. It needs scikit-learn; raises ValueError where no text has a word."""
        return {name: self.ranked(make(self.queries, self.candidates)) for name, make in WORDS.items()}


class RetrievalBuilder:
    """Numbers texts: one that comes again has the number that it has."""

    def __init__(self) -> None:
        self._queries: dict[str, int] = {}
        self._candidates: dict[str, int] = {}
        self.right: list[tuple[int, int, float]] = []

    def candidate(self, text: str) -> int:
        """Its number."""
        return self._candidates.setdefault(text, len(self._candidates))

    def add(self, query: str, candidate: str, grade: float) -> None:
        """A candidate that is right for a query."""
        number = self._queries.setdefault(query, len(self._queries))
        self.right.append((number, self.candidate(candidate), grade))

    def build(self, notes: tuple[str, ...] = ()) -> RetrievalData:
        """All of it so far."""
        return RetrievalData(tuple(self._queries), tuple(self._candidates), tuple(self.right), notes)


def own_text(
    queries: Sequence[str], candidates: Sequence[str], right: Iterable[tuple[int, int, float]]
) -> Tensor | None:
    """(Q,) the candidate that is a query's own text and no answer to it, or -1; None where there is none at all."""
    places = {text: number for number, text in enumerate(candidates)}
    answers = {(query, candidate) for query, candidate, _ in right}
    found = [places.get(text, -1) for text in queries]
    found = [-1 if (query, place) in answers else place for query, place in enumerate(found)]
    return torch.tensor(found) if max(found, default=-1) >= 0 else None


def words_are_counted() -> bool:
    """Whether what counting words needs is installed."""
    return find_spec("sklearn") is not None
