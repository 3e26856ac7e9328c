"""Sums over blocks of rows are the sums over all rows."""

from __future__ import annotations

import pytest
import torch

from neobert.contrast import sum_in_blocks


@pytest.mark.parametrize("block_scores", [1, 5, 12, 10**6])
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_values_and_gradients_do_not_depend_on_the_block(rows, block_scores):
    torch.manual_seed(0)
    queries = torch.randn(rows, 3, dtype=torch.float64, requires_grad=True)
    columns = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    number, calls = torch.arange(rows), []

    def function(q, number):
        calls.append(len(q))
        scores = q @ columns.T
        return (scores.logsumexp(1) * (number + 1)).sum(), number.sum()

    total, count = sum_in_blocks(function, (queries, number), 4, block_scores=block_scores)
    forward = list(calls)
    assert sum(forward) == rows
    assert max(forward) <= max(1, block_scores // 4)
    expected = ((queries @ columns.T).logsumexp(1) * (number + 1)).sum()
    torch.testing.assert_close(total, expected, rtol=1e-13, atol=1e-13)
    assert count == number.sum()
    ours, theirs = (torch.autograd.grad(x, (queries, columns)) for x in (total, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert sum(calls) == (2 * rows if len(forward) > 1 else rows), "blocks are computed again, a whole is not"


def test_without_a_gradient_nothing_is_computed_again():
    calls = []

    def function(q):
        calls.append(len(q))
        return (q.sum(),)

    with torch.no_grad():
        (total,) = sum_in_blocks(function, (torch.ones(5, 2),), 1, block_scores=2)
    assert total == 10
    assert calls == [2, 2, 1]
