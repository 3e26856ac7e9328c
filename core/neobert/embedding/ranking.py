"""How good rankings are: MRR, recall and nDCG of the candidates that were found first.

Shapes: Q queries, k candidates found for each, P pairs of a query and a candidate that is right for it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

DEPTH = 100
"""How far down a ranking these figures look."""
RECALLS = (1, 10, 100)
TOP = 10
"""Of MRR and nDCG."""


@frozen(eq=False)
class Relevance:
    """Which candidates are right for which query. Every query has one at least; no pair comes twice."""

    query: NDArray[np.int64]
    """(P,) ascending."""
    candidate: NDArray[np.int64]
    """(P,)."""
    grade: NDArray[np.float64]
    """(P,) how right, above 0: nDCG's gain."""
    counts: NDArray[np.int64]
    """(Q,) how many are right for each query."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int, float]], queries: int) -> Relevance:
        """From (query, candidate, grade) in any order; of a pair that comes twice, the higher grade counts.

        Raises ValueError for a query without any, and a grade that is not above 0.
        """
        grades: dict[tuple[int, int], float] = {}
        for query, candidate, grade in pairs:
            if not grade > 0:
                msg = f"candidate {candidate} has grade {grade} for query {query}: what is right has one above 0"
                raise ValueError(msg)
            grades[query, candidate] = max(grade, grades.get((query, candidate), 0.0))
        keys = np.array(sorted(grades), dtype=np.int64).reshape(-1, 2)
        counts = np.bincount(keys[:, 0], minlength=queries)
        if not counts.all():
            msg = f"query {int(counts.argmin())} has no right candidate"
            raise ValueError(msg)
        return cls(keys[:, 0], keys[:, 1], np.array([grades[query, candidate] for query, candidate in keys]), counts)

    def grades_of(self, found: NDArray[np.int64]) -> NDArray[np.float64]:
        """found (Q, k), -1 for none -> (Q, k): each one's grade for its query, 0.0 where it is wrong."""
        width = max(int(self.candidate.max(initial=0)), int(found.max(initial=0))) + 1
        right = self.query * width + self.candidate
        order = np.argsort(right)
        wanted = np.arange(len(found))[:, None] * width + found
        place = np.minimum(np.searchsorted(right[order], wanted), len(right) - 1)
        hit = (right[order][place] == wanted) & (found >= 0)
        return np.where(hit, self.grade[order][place], 0.0)


def ranking_metrics(found: NDArray[np.int64], relevance: Relevance) -> dict[str, float]:
    """``mrr@10``, ``recall@1``, ``recall@10``, ``recall@100`` and ``ndcg@10``, means over the queries.

    ``found`` (Q, k): candidates, best first, -1 for none; k = `DEPTH` or all of them. Recall is the share of a query's
    right candidates. nDCG has the grade itself as gain, divided by log2(1 + rank) (Järvelin & Kekäläinen 2002), as
    trec_eval and scikit-learn have it.
    """
    grades = relevance.grades_of(found)
    hits = grades > 0
    metrics = {f"mrr@{TOP}": float(_reciprocal_ranks(hits[:, :TOP]).mean())}
    for depth in RECALLS:
        metrics[f"recall@{depth}"] = float((hits[:, :depth].sum(1) / relevance.counts).mean())
    ideal = _gain(_ideal_grades(relevance))
    metrics[f"ndcg@{TOP}"] = float((_gain(grades[:, :TOP]) / ideal).mean())
    return metrics


def _reciprocal_ranks(hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(Q, k) -> (Q,): one over the rank of the first hit, 0 without any."""
    ranks = np.arange(1, hits.shape[1] + 1)
    best: NDArray[np.float64] = np.where(hits, 1.0 / ranks, 0.0).max(1, initial=0.0)
    return best


def _gain(grades: NDArray[np.float64]) -> NDArray[np.float64]:
    """(Q, k) in the order of a ranking -> (Q,): discounted and summed."""
    gain: NDArray[np.float64] = grades @ (1.0 / np.log2(np.arange(2, grades.shape[1] + 2)))
    return gain


def _ideal_grades(relevance: Relevance) -> NDArray[np.float64]:
    """(Q, `TOP`): each query's highest grades, best first, 0.0 after them."""
    ideal = np.zeros((len(relevance.counts), TOP))
    order = np.lexsort((-relevance.grade, relevance.query))
    place = np.arange(len(order)) - np.repeat(relevance.counts.cumsum() - relevance.counts, relevance.counts)
    top = place < TOP
    ideal[relevance.query[order][top], place[top]] = relevance.grade[order][top]
    return ideal
