"""The best candidates of each query, by blocks: the matrix of all scores is never whole.

Shapes: Q queries, D candidates, R queries and W candidates of a block, E embedding size.
"""

from __future__ import annotations

from typing import Protocol

import torch
from attrs import field, frozen
from torch import Tensor

BLOCK_QUERIES, BLOCK_CANDIDATES = 512, 8192
"""A block has 16 MiB of float32 scores, a few times over."""


class Scores(Protocol):
    """How near each candidate is to each query; what is nearer has the higher score."""

    @property
    def shape(self) -> tuple[int, int]:
        """(Q, D)."""
        ...

    def block(self, queries: slice, candidates: slice) -> Tensor:
        """(R, W), floating point, finite."""
        ...


@frozen(eq=False)
class Products:
    """Dot products of embeddings; cosines where all of them have length 1."""

    queries: Tensor
    """(Q, E)."""
    candidates: Tensor
    """(D, E), on the same device."""
    shape: tuple[int, int] = field(init=False)

    @shape.default
    def _shape(self) -> tuple[int, int]:
        return len(self.queries), len(self.candidates)

    def block(self, queries: slice, candidates: slice) -> Tensor:
        """(R, W)."""
        return self.queries[queries] @ self.candidates[candidates].T


def nearest(
    scores: Scores,
    count: int,
    *,
    left_out: Tensor | None = None,
    block_queries: int = BLOCK_QUERIES,
    block_candidates: int = BLOCK_CANDIDATES,
) -> Tensor:
    """(Q, k) int64 on the host: the candidates of the highest scores, best first, k = min(``count``, D).

    Of equal scores the lower number comes first, whatever the blocks. ``left_out`` (Q,) int64 names a candidate that
    is none for that query, or -1; a row that runs out of candidates ends in -1.
    """
    queries, candidates = scores.shape
    rows = [slice(start, min(start + block_queries, queries)) for start in range(0, queries, block_queries)]
    columns = [
        slice(start, min(start + block_candidates, candidates)) for start in range(0, candidates, block_candidates)
    ]
    if not rows or not columns:
        return torch.empty(queries, 0, dtype=torch.int64)
    found = [_nearest_of(scores, row, columns, count, None if left_out is None else left_out[row]) for row in rows]
    return torch.cat(found)


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _nearest_of(scores: Scores, rows: slice, columns: list[slice], count: int, left_out: Tensor | None) -> Tensor:
    """The rows of some queries: the best so far beside each further block."""
    best: Tensor | None = None
    numbers = torch.empty(0, dtype=torch.int64)
    for column in columns:
        block = scores.block(rows, column)
        if left_out is not None:
            _leave_out(block, left_out.to(block.device) - column.start)
        here = torch.arange(column.start, column.stop, device=block.device).expand(len(block), -1)
        if best is not None:
            # What was found before has lower numbers: of equals it stays in front.
            block, here = torch.cat((best, block), 1), torch.cat((numbers, here), 1)
        kept = _best_columns(block, min(count, block.shape[1]))
        values = block.gather(1, kept)
        order = values.argsort(dim=1, descending=True, stable=True)
        best, numbers = values.gather(1, order), here.gather(1, kept.gather(1, order))
    assert best is not None
    return numbers.masked_fill(best == -torch.inf, -1).cpu()


def _leave_out(block: Tensor, columns: Tensor) -> None:
    """Those of ``columns`` (R,) that are in the block come after everything."""
    there = (columns >= 0) & (columns < block.shape[1])
    block[there.nonzero()[:, 0], columns[there]] = -torch.inf


def _best_columns(block: Tensor, count: int) -> Tensor:
    """(R, W) -> (R, count), ascending: where the highest scores are, the first ones of those that are equal."""
    least = block.topk(count, sorted=False).values.amin(1, keepdim=True)
    kept = block >= least
    if int(kept.sum()) > len(block) * count:
        above = block > least
        room = count - above.sum(1, keepdim=True)
        equal = kept & ~above
        kept = above | (equal & (equal.cumsum(1, dtype=torch.int32) <= room))
    return kept.nonzero()[:, 1].view(len(block), count)
