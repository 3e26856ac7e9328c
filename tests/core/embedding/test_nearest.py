"""Rankings by blocks, against a sort of everything."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neobert.embedding.nearest import Products, nearest


def by_sorting(scores: torch.Tensor, count: int, left_out: list[int]) -> list[list[int]]:
    """Query by query, candidate by candidate."""
    rows = []
    for query, row in enumerate(scores.tolist()):
        order = sorted((-value, number) for number, value in enumerate(row) if number != left_out[query])
        found = [number for _, number in order[:count]]
        rows.append(found + [-1] * (min(count, len(row)) - len(found)))
    return rows


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 7),
    st.integers(1, 23),
    st.integers(1, 9),
    st.integers(1, 8),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_the_order_is_that_of_a_sort_whatever_the_blocks(queries, candidates, count, rows, columns, random) -> None:
    # Few whole numbers: exact products, and many that are equal.
    def draw(number: int) -> torch.Tensor:
        return torch.tensor([[float(random.randint(-1, 1)) for _ in range(3)] for _ in range(number)])

    scores = Products(draw(queries), draw(candidates))
    left_out = [random.randint(-1, candidates - 1) for _ in range(queries)]
    found = nearest(scores, count, left_out=torch.tensor(left_out), block_queries=rows, block_candidates=columns)
    whole = scores.queries @ scores.candidates.T
    assert found.tolist() == by_sorting(whole, count, left_out)


def test_without_anything_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = Products(torch.randn(50, 8, generator=generator), torch.randn(300, 8, generator=generator))
    whole = scores.queries @ scores.candidates.T
    assert nearest(scores, 10, block_queries=16, block_candidates=64).tolist() == by_sorting(whole, 10, [-1] * 50)


def test_candidates_that_are_all_alike_come_in_their_order() -> None:
    scores = Products(torch.ones(2, 3), torch.ones(40, 3))
    assert nearest(scores, 5, block_candidates=7).tolist() == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize(("queries", "candidates"), [(0, 3), (3, 0)])
def test_nothing_to_rank(queries: int, candidates: int) -> None:
    assert nearest(Products(torch.ones(queries, 2), torch.ones(candidates, 2)), 4).shape == (queries, 0)


def test_no_block_is_larger_than_asked_for() -> None:
    class Watched(Products):
        largest = (0, 0)

        def block(self, queries: slice, candidates: slice) -> torch.Tensor:
            found = super().block(queries, candidates)
            Watched.largest = (max(self.largest[0], found.shape[0]), max(self.largest[1], found.shape[1]))
            return found

    nearest(Watched(torch.ones(30, 2), torch.ones(50, 2)), 4, block_queries=8, block_candidates=16)
    assert Watched.largest == (8, 16)
