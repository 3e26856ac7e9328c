"""MRR, recall and nDCG against plain loops and scikit-learn."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from neobert.embedding.ranking import DEPTH, Relevance, ranking_metrics

QUERIES, CANDIDATES = 40, 150


def drawn(seed: int) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Full rankings (Q, D), and right candidates with grades 1 to 3, up to 15 a query."""
    rng = random.Random(seed)
    rankings = np.array([rng.sample(range(CANDIDATES), CANDIDATES) for _ in range(QUERIES)])
    pairs = [
        (query, candidate, float(rng.randint(1, 3)))
        for query in range(QUERIES)
        for candidate in rng.sample(range(CANDIDATES), rng.randint(1, 15))
    ]
    rng.shuffle(pairs)
    return rankings, pairs


def by_loops(rankings: np.ndarray, pairs: list[tuple[int, int, float]]) -> dict[str, float]:
    sums = dict.fromkeys(("mrr@10", "recall@1", "recall@10", "recall@100", "ndcg@10"), 0.0)
    for query, ranking in enumerate(rankings.tolist()):
        right = {candidate: grade for other, candidate, grade in pairs if other == query}
        for rank, candidate in enumerate(ranking[:10], start=1):
            if candidate in right:
                sums["mrr@10"] += 1 / rank
                break
        for depth in (1, 10, 100):
            sums[f"recall@{depth}"] += sum(candidate in right for candidate in ranking[:depth]) / len(right)
        gain = sum(right.get(candidate, 0.0) / math.log2(rank + 1) for rank, candidate in enumerate(ranking[:10], 1))
        best = sorted(right.values(), reverse=True)[:10]
        sums["ndcg@10"] += gain / sum(grade / math.log2(rank + 1) for rank, grade in enumerate(best, 1))
    return {name: total / len(rankings) for name, total in sums.items()}


@pytest.mark.parametrize("seed", range(5))
def test_against_plain_loops(seed: int) -> None:
    rankings, pairs = drawn(seed)
    found = ranking_metrics(rankings[:, :DEPTH], Relevance.of(pairs, QUERIES))
    assert found == pytest.approx(by_loops(rankings, pairs), abs=1e-12)


def test_ndcg_is_that_of_scikit_learn() -> None:
    rankings, pairs = drawn(7)
    truth, scores = np.zeros((QUERIES, CANDIDATES)), np.zeros((QUERIES, CANDIDATES))
    for query, candidate, grade in pairs:
        truth[query, candidate] = grade
    for query, ranking in enumerate(rankings):
        scores[query, ranking] = np.arange(CANDIDATES, 0, -1)
    found = ranking_metrics(rankings[:, :DEPTH], Relevance.of(pairs, QUERIES))
    assert found["ndcg@10"] == pytest.approx(ndcg_score(truth, scores, k=10), abs=1e-12)


def test_known_values() -> None:
    found = np.array([[3, 1, 2], [0, 2, -1]])
    metrics = ranking_metrics(found, Relevance.of([(0, 1, 1.0), (1, 2, 1.0), (1, 9, 1.0)], 2))
    assert metrics["mrr@10"] == 0.5
    assert metrics["recall@1"] == 0.0
    assert metrics["recall@10"] == pytest.approx((1.0 + 0.5) / 2)
    first = (1 / math.log2(3)) / 1.0
    second = (1 / math.log2(3)) / (1.0 + 1 / math.log2(3))
    assert metrics["ndcg@10"] == pytest.approx((first + second) / 2)


def test_a_pair_that_comes_twice_counts_once() -> None:
    relevance = Relevance.of([(0, 1, 1.0), (0, 1, 3.0)], 1)
    assert relevance.counts.tolist() == [1]
    assert relevance.grade.tolist() == [3.0]


def test_no_place_is_no_candidate() -> None:
    """-1, for none, is never taken for the last candidate, of the query before it least of all."""
    relevance = Relevance.of([(0, 3, 1.0), (1, 0, 1.0)], 2)
    assert relevance.grades_of(np.array([[3, 0], [-1, -1]])).tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="query 1 has no right candidate"):
        Relevance.of([(0, 0, 1.0), (2, 0, 1.0)], 3)
    with pytest.raises(ValueError, match=r"grade 0\.0"):
        Relevance.of([(0, 0, 0.0)], 1)
